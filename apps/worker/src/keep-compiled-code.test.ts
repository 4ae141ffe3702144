import { execFile } from 'node:child_process';
import { chmod, chown, mkdtemp, readdir, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, expect, it } from 'vitest';

let top: string;
beforeEach(async () => {
  top = await mkdtemp(join(tmpdir(), 'holdfast-compiled-'));
});
afterEach(() => rm(top, { recursive: true }));

/** In a process of its own: what is switched on stays on. By `setpriv` it is another user's. */
async function keepIn(folder: string, setpriv: readonly string[] = []): Promise<unknown> {
  const program = `
    import { keepCompiledCode } from '${new URL('keep-compiled-code.ts', import.meta.url).href}';
    console.log(JSON.stringify(await keepCompiledCode(process.argv[1])));
    await import('${new URL('missed-ticks.ts', import.meta.url).href}');`;
  const [command, ...args] = [...setpriv, process.execPath, '--eval', program, folder];
  const { stdout } = await promisify(execFile)(command, args, {
    env: { ...process.env, NODE_COMPILE_CACHE: undefined, NODE_NO_WARNINGS: '1' },
  });
  return JSON.parse(stdout);
}

it('keeps code in a folder that it makes for this user alone', async () => {
  const folder = join(top, 'scratch', 'compiled');
  expect(await keepIn(folder)).toBe(true);
  expect((await stat(folder)).mode & 0o777).toBe(0o700);
  expect((await readdir(folder)).length).toBe(1);
});

it.each([0o770, 0o707])('leaves a folder of mode %o alone, where others could put code', async (mode) => {
  await chmod(top, mode);
  expect(await keepIn(top)).toBe(false);
  expect(await readdir(top)).toEqual([]);
});

it('goes on without where no folder can be', async () => {
  expect(await keepIn('/dev/null/compiled')).toBe(false);
});

it.runIf(process.geteuid?.() === 0)('keeps code for a user whom the user table does not have', async () => {
  const namelessId = 12_345;
  await chown(top, namelessId, namelessId);
  const folder = join(top, 'compiled');
  expect(await keepIn(folder, ['setpriv', `--reuid=${namelessId}`, `--regid=${namelessId}`, '--clear-groups'])).toBe(true);
  expect((await readdir(folder)).length).toBe(1);
});
