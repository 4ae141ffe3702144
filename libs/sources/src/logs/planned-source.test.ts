import { appendFile, mkdir, mkdtemp, readFile, realpath, rename, rm, symlink, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { describeSourceContract, readWhole, walk } from '../testing/source-contract.ts';
import { decodeManifest } from './log-manifest.ts';
import { manifestPath } from './log-texts.ts';
import { openLogsSource } from './logs-source.ts';
import type { PlannedSource } from './planned-source.ts';

const startedAt = new Date(1_700_000_000_000);

async function folderOfLogs(): Promise<string> {
  const folder = await realpath(await mkdtemp(join(tmpdir(), 'holdfast-logs-')));
  await mkdir(join(folder, 'b', 'deep'), { recursive: true });
  await writeFile(join(folder, 'app.log'), 'first\nsecond\n');
  await writeFile(join(folder, 'empty.log'), '');
  await writeFile(join(folder, 'b', 'deep', 'x.log'), Buffer.alloc(3_000_000, 'a line of a log\n'));
  await symlink('/etc/passwd', join(folder, 'link.log'));
  return folder;
}

const openIn = async (folder: string): Promise<PlannedSource> =>
  await openLogsSource({
    globs: [`${folder}/**/*.log`],
    roots: [folder],
    before: null,
    startedAt,
    signal: new AbortController().signal,
  });

async function logsIn(): Promise<{ folder: string; source: PlannedSource }> {
  const folder = await folderOfLogs();
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  return { folder, source: await openIn(folder) };
}

describeSourceContract('logs', async () => {
  const folder = await folderOfLogs();
  return { source: await openIn(folder), dispose: () => rm(folder, { recursive: true }) };
});

describe('a source of logs', () => {
  it('shows what the globs match, no symlink, and a manifest that tells of each', async () => {
    const { folder, source } = await logsIn();
    const nodes = await walk(source);
    const files = [...nodes].filter(([, { type }]) => type !== 'dir').map(([path]) => path);
    expect(files).toEqual(
      [manifestPath, '/holdfast-logs/README.txt', `${folder}/app.log`, `${folder}/b/deep/x.log`, `${folder}/empty.log`].toSorted(),
    );
    const entries = decodeManifest(await readWhole(source, manifestPath, 100_000));
    expect(entries.map(({ path, toByte }) => [path, toByte])).toEqual([
      [`${folder}/app.log`, 13],
      [`${folder}/b/deep/x.log`, 3_000_000],
      [`${folder}/empty.log`, 0],
    ]);
    expect(source.paths).toEqual([folder]);
  });

  it('shows a file as it was when it was found, though it grows', async () => {
    const { folder, source } = await logsIn();
    await appendFile(join(folder, 'app.log'), 'third\n');
    expect((await walk(source)).get(`${folder}/app.log`)?.sizeBytes).toBe(13);
    expect(Buffer.from(await readWhole(source, `${folder}/app.log`, 100)).toString()).toBe('first\nsecond\n');
    expect(source.warnings).toEqual([]);
  });

  it('ends a file that is truncated while it is read with what was read before, and says so', async () => {
    const { folder, source } = await logsIn();
    const path = join(folder, 'b', 'deep', 'x.log');
    const file = await source.openFile(path);
    onTestFinished(() => file.close());
    const piece = new Uint8Array(1_000_000);
    expect(await file.read(piece, 0)).toBe(1_000_000);
    await truncate(path, 1_200_000);
    expect(await file.read(piece, 1_000_000)).toBe(0);
    expect(await file.read(piece, 1_000_000)).toBe(0);
    expect(source.warnings).toEqual([expect.stringContaining('was truncated while it was read: its first 1000000 bytes are stored')]);
  });

  it('takes nothing of a file that was truncated and has grown again while it was read', async () => {
    const { folder, source } = await logsIn();
    const path = join(folder, 'b', 'deep', 'x.log');
    const file = await source.openFile(path);
    onTestFinished(() => file.close());
    await file.read(new Uint8Array(1_000_000), 0);
    await truncate(path);
    await writeFile(path, Buffer.alloc(4_000_000, 'quite another line\n'), { flag: 'r+' });
    await file.read(new Uint8Array(2_000_000), 1_000_000);
    await expect(file.read(new Uint8Array(10), 3_000_000)).rejects.toMatchObject({
      code: 'path_not_readable',
      message: expect.stringContaining('was truncated and written anew') as unknown,
    });
  });

  it('leaves out a file that was rotated since, and takes no other in its place', async () => {
    const { folder, source } = await logsIn();
    await rename(join(folder, 'app.log'), join(folder, 'app.log.1'));
    await writeFile(join(folder, 'app.log'), 'another\n');
    await expect(source.openFile(join(folder, 'app.log'))).rejects.toMatchObject({ code: 'path_not_found' });
    expect(await source.readDirectory(folder)).toContainEqual({
      kind: 'skipped',
      skipped: { path: join(folder, 'app.log'), reason: 'was rotated since the run began; the next run finds it' },
    });
    await rm(join(folder, 'empty.log'));
    expect(JSON.stringify(await source.readDirectory(folder), (_, value: unknown) => (typeof value === 'bigint' ? '' : value))).toContain(
      'has gone since the run began',
    );
    expect(await readFile(join(folder, 'app.log'), 'utf8')).toBe('another\n');
  });

  it('refuses globs that take files of the folder that the snapshot has for itself', async () => {
    const { source } = await logsIn();
    await expect(source.openFile('/holdfast-logs/other')).rejects.toMatchObject({ code: 'path_not_found' });
  });
});
