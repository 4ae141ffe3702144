import { chmod, mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { loadSecrets, makeStateFolder, readSecret } from './secrets.ts';

let parent: string;
beforeEach(async () => {
  parent = await mkdtemp(join(tmpdir(), 'holdfast-secrets-'));
});
afterEach(() => rm(parent, { recursive: true }));

const modeOf = async (path: string): Promise<number> => (await stat(path)).mode & 0o777;

test('secrets are made once, for their owner alone, and are the same ever after', async () => {
  const folder = join(parent, 'state');
  makeStateFolder(folder);
  const made = loadSecrets(folder);
  expect(Buffer.from(made.masterKey, 'base64')).toHaveLength(32);
  expect(made.jwtSecret.length).toBeGreaterThanOrEqual(32);
  expect(loadSecrets(folder)).toEqual(made);
  expect(await modeOf(folder)).toBe(0o700);
  const names = await readdir(folder);
  expect(names.toSorted()).toEqual(['jwt-secret', 'master-key']);
  for (const name of names) expect(await modeOf(join(folder, name))).toBe(0o600);
});

test('a folder that others could read is closed to them', async () => {
  await chmod(parent, 0o755);
  makeStateFolder(parent);
  expect(await modeOf(parent)).toBe(0o700);
});

test('an empty secret is refused and not replaced: what it sealed would be lost', async () => {
  await writeFile(join(parent, 'master-key'), '\n');
  expect(() => loadSecrets(parent)).toThrow(expect.objectContaining({ code: 'secret_unreadable' }));
  expect(await stat(join(parent, 'master-key'))).toMatchObject({ size: 1 });
});

test('a secret that is not there is undefined for those who only read', () => {
  expect(readSecret(join(parent, 'jwt-secret'))).toBeUndefined();
});

test('a place that cannot be a folder is told', async () => {
  const file = join(parent, 'file');
  await writeFile(file, '');
  expect(() => makeStateFolder(join(file, 'state'))).toThrow(expect.objectContaining({ code: 'target_not_writable' }));
});
