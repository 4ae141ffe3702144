import { execFile } from 'node:child_process';
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { describe, expect, it, onTestFinished } from 'vitest';
import { temporaryPrefix } from './local-listing.ts';
import { openLocalStorage } from './local-storage.ts';

const run = promisify(execFile);
const newer = process.env['RESTIC_NEWER_BIN'];

describe.each(['restic', ...(newer === undefined ? [] : [newer])])('a local folder under %s', (restic) => {
  it('takes a repository that it copied object by object, with folders missing and temporaries left behind', async () => {
    const base = await scratch();
    const [made, copied] = [join(base, 'made'), join(base, 'copied')];
    const call = (repository: string, ...more: string[]) =>
      run(restic, ['--repo', repository, '--no-cache', ...more], { env: { ...process.env, RESTIC_PASSWORD: 'secret' } });
    await writeFile(join(base, 'file'), 'content');
    await call(made, 'init');
    await call(made, 'backup', join(base, 'file'));

    const from = await openLocalStorage({ path: made });
    const to = await openLocalStorage({ path: copied });
    const objects = await Array.fromAsync(from.list(''));
    expect(objects.map(({ name }) => name).toSorted()).toEqual((await filesBelow(made)).toSorted());
    for (const { name } of objects) await to.put(name, await from.get(name));
    expect((await readdir(join(copied, 'data'))).length).toBeLessThan(256);

    for (const folder of ['.', 'data', 'index', 'snapshots', 'keys', ...(await foldersIn(join(copied, 'data')))]) {
      await writeFile(join(copied, folder, `${temporaryPrefix}left-behind`), 'half a pack');
    }
    await call(copied, 'check', '--read-data');
    await writeFile(join(base, 'file'), 'other content');
    await call(copied, 'backup', join(base, 'file'));
    await call(copied, 'forget', '--keep-last', '1', '--prune');
    await call(copied, 'check', '--read-data');
    const { stdout } = await call(copied, 'dump', 'latest', join(base, 'file'));
    expect(stdout).toBe('other content');
  });
});

async function filesBelow(root: string): Promise<string[]> {
  const entries = await readdir(root, { recursive: true, withFileTypes: true });
  return entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name).slice(root.length + 1));
}

async function foldersIn(path: string): Promise<string[]> {
  return (await readdir(path)).map((name) => join('data', name)).filter((name) => !name.includes(temporaryPrefix));
}

async function scratch(): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'holdfast-interop-'));
  onTestFinished(() => rm(path, { recursive: true }));
  return path;
}
