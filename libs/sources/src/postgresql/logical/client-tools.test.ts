import { chmod, mkdtemp, readdir, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { chooseTools, findClientTools } from './client-tools.ts';

const tools = (major: number, minor = 1) => ({ folder: `/usr/lib/postgresql/${major}/bin`, major, minor });

test('the same major version goes before newer ones', () => {
  expect(chooseTools(16, [tools(18), tools(15), tools(16), tools(17)]).major).toBe(16);
});

test('of newer ones the oldest, and of one major version the newest minor one', () => {
  expect(chooseTools(15, [tools(18), tools(17, 2), tools(17, 9), tools(14)])).toEqual(tools(17, 9));
});

test.each([
  [18, [tools(15), tools(17)], /newest pg_dump at the worker is 17, and the server is PostgreSQL 18/u],
  [15, [], /no pg_dump is installed/u],
])('nothing fits a server %i', (server, found, message) => {
  expect(() => chooseTools(server, found)).toThrow(
    expect.objectContaining({
      code: 'postgresql_tool_missing',
      message: expect.stringMatching(message) as string,
      hint: expect.stringContaining(`postgresql-client-${server}`) as string,
    }),
  );
});

test('the setting goes alone: what lies on the PATH is not looked at', async () => {
  await expect(findClientTools(14, { binFolders: ['/nowhere'] })).rejects.toMatchObject({ code: 'postgresql_tool_missing' });
});

test("Debian's wrapper on the PATH is not run, unless the setting names its folder", async () => {
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-wrapper-'));
  try {
    await writeFile(join(folder, 'pg_wrapper'), '#!/bin/sh\ntouch "$(dirname "$0")/was-run"\necho "pg_dump (PostgreSQL) 99.1"\n');
    await chmod(join(folder, 'pg_wrapper'), 0o755);
    for (const name of ['pg_dump', 'pg_dumpall', 'psql']) await symlink('pg_wrapper', join(folder, name));
    // Of what packages have here the newest is older.
    await expect(findClientTools(99, { path: folder })).rejects.toMatchObject({ code: 'postgresql_tool_missing' });
    expect(await readdir(folder)).not.toContain('was-run');
    await expect(findClientTools(99, { binFolders: [folder] })).resolves.toMatchObject({ folder, major: 99 });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});
