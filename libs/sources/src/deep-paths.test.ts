import { mkdtemp, open, realpath, rm, symlink, type FileHandle } from 'node:fs/promises';
import { execFile } from 'node:child_process';
import { closeSync, constants } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { isHoldfastError } from '@holdfast/errors/holdfast-error';
import { describe, expect, it, onTestFinished } from 'vitest';
import { openFileSystemSource } from './file-system-source.ts';
import { openFileSystemTarget } from './file-system-target.ts';
import { copySource } from './testing/copy-source.ts';
import { readWhole, walk } from './testing/source-contract.ts';
import { openThreadFolder } from './thread-folder.ts';
import { openVerifiedFolder } from './verified-folder.ts';

const run = promisify(execFile);
const name = 'n'.repeat(200);
/** 60 names of 200 bytes: three times what one call takes. */
const depth = 60;

/** Makes the chain of folders relative to the one before, as one has to. Needs bash. */
async function makeDeepTree(root: string): Promise<void> {
  const script = `cd "$1" && for i in $(seq ${depth}); do mkdir ${name} && cd -P ./${name} || exit 1; done; printf deep > file; ln -s file link`;
  await run('bash', ['-c', script, 'bash', root]);
}

describe.skipIf(process.platform !== 'linux')('paths longer than one call takes', () => {
  it('are read, and recovered as they were', async () => {
    const base = await scratch();
    const from = join(base, 'from');
    await run('mkdir', [from]);
    await makeDeepTree(from);
    const source = await openFileSystemSource({ paths: [from], roots: [base] });
    const nodes = await walk(source);
    const deepest = `${from}/${`${name}/`.repeat(depth)}`;
    expect(deepest.length).toBeGreaterThan(12_000);
    expect([...nodes.keys()].filter((path) => path.startsWith(deepest))).toEqual([`${deepest}file`, `${deepest}link`]);
    expect(Buffer.from(await readWhole(source, `${deepest}file`, 4)).toString()).toBe('deep');
    expect(await source.estimate?.()).toEqual({ files: 1, bytes: 4 });
    const folder = openThreadFolder(deepest.slice(0, -1));
    closeSync(folder.openFile('file'));
    folder.close();

    const target = openFileSystemTarget({ path: join(base, 'to'), roots: [base], overwrite: false });
    await target.open();
    expect(await copySource(source, target)).toEqual([]);
    await target.close();
    const restored = await openFileSystemSource({ paths: [join(base, 'to', from)], roots: [base] });
    const again = await walk(restored);
    for (const [path, node] of nodes) {
      if (!path.startsWith(from)) continue;
      const { type, mode, modifiedNs, sizeBytes } = node;
      expect(again.get(join(base, 'to') + path)).toMatchObject({ type, mode, modifiedNs, sizeBytes });
    }
    expect(Buffer.from(await readWhole(restored, `${join(base, 'to')}${deepest}file`, 4)).toString()).toBe('deep');
  });

  it('lead through no symlink, however deep it is', async () => {
    const base = await scratch();
    const from = join(base, 'from');
    await run('mkdir', [from]);
    await makeDeepTree(from);
    const handle = await openDeep(from);
    try {
      await symlink(base, `/proc/self/fd/${String(handle.fd)}/away`);
    } finally {
      await handle.close();
    }
    const deepest = `${from}/${`${name}/`.repeat(depth)}`;
    await expect(openVerifiedFolder(`${deepest}away`)).rejects.toMatchObject({ code: 'ENOTDIR' });
    await expect(openVerifiedFolder(`${deepest}away/from`)).rejects.toMatchObject({ code: 'ENOTDIR' });
    const source = await openFileSystemSource({ paths: [from], roots: [base] });
    await expect(source.readDirectory(`${deepest}away/from`)).rejects.toSatisfy((error) => isHoldfastError(error, 'path_not_found'));
    expect(() => openThreadFolder(`${deepest}away/from`)).toThrow(expect.objectContaining({ code: 'path_not_found' }));
    await expect(source.openFile(`${deepest}link`)).rejects.toSatisfy((error) => isHoldfastError(error, 'path_not_found'));
  });
});

async function openDeep(root: string): Promise<FileHandle> {
  let handle = await open(root, constants.O_RDONLY);
  for (let nth = 0; nth < depth; nth++) {
    const next = await open(`/proc/self/fd/${String(handle.fd)}/${name}`, constants.O_RDONLY);
    await handle.close();
    handle = next;
  }
  return handle;
}

async function scratch(): Promise<string> {
  const path = await realpath(await mkdtemp(join(tmpdir(), 'holdfast-deep-')));
  onTestFinished(async () => {
    // Node's own removal goes by paths.
    await run('rm', ['-rf', path]);
    await rm(path, { recursive: true, force: true });
  });
  return path;
}
