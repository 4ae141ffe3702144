import { chmod, mkdir, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { inTransaction } from '@holdfast/database/in-transaction';
import { createRecoveryJob } from '@holdfast/database/recovery-jobs';
import { createVerification } from '@holdfast/database/verifications';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { backends, isFinal, openWorkerFixture, type RunRow, type WorkerFixture } from '../testing/worker-fixture.ts';

type VerificationType = 'checksum' | 'integrity' | 'restore_test';

/** A row as it was before its run ended. */
const queuedAgain = { status: 'queued', endTime: null, duration: null, queuedAt: new Date() } as const;

describe.each(backends)('the processors with queues on %s', (backend) => {
  let fixture: WorkerFixture;
  let configId: string;
  let source: string;

  const backUp = async (id = configId): Promise<string> => {
    const job = await fixture.submitBackup(id);
    expect(await fixture.eventually('backup', job, isFinal)).toMatchObject({ status: 'completed', attempt: 1 });
    return job;
  };
  const backupRow = (id: string) => fixture.database.db.client.backupJob.findUniqueOrThrow({ where: { id } });
  const verify = async (backupJobId: string, verificationType: VerificationType): Promise<{ id: string; row: RunRow }> => {
    const { id } = await inTransaction(fixture.database.db, (tx) => createVerification(tx, '*', { backupJobId, verificationType }));
    await fixture.queues.enqueueRun('verify', id);
    return { id, row: await fixture.eventually('verify', id, isFinal) };
  };
  const recover = async (
    backupJobId: string,
    target: string,
    more: { paths?: string[]; overwrite?: boolean } = {},
  ): Promise<{ id: string; row: RunRow }> => {
    const { paths, overwrite = false } = more;
    const options = { overwrite, ...(paths === undefined ? {} : { paths }) };
    const recoveryType = paths === undefined ? 'full' : 'selective';
    const input = { backupJobId, recoveryType, targetLocation: join(fixture.folder, 'target', target), options, execute: true } as const;
    const { id } = await inTransaction(fixture.database.db, (tx) => createRecoveryJob(tx, '*', input));
    await fixture.queues.enqueueRun('recovery', id);
    return { id, row: await fixture.eventually('recovery', id, isFinal) };
  };
  /** Of tests: the stat cache of the backups lies there too. */
  const leftInScratch = async (): Promise<string[]> =>
    (await readdir(join(fixture.folder, 'scratch')).catch(() => [])).filter((name) => name !== 'stat-cache');
  const recovered = (target: string, ...names: string[]): string => join(fixture.folder, 'target', target, source, ...names);

  beforeAll(async () => {
    fixture = await openWorkerFixture(backend);
    source = join(fixture.folder, 'source');
    await writeFile(join(source, 'a.txt'), 'first');
    await mkdir(join(source, 'deep'));
    await writeFile(join(source, 'deep', 'b.bin'), Buffer.alloc(300_000, 'b'));
    await symlink('a.txt', join(source, 'link'));
    await fixture.startWorker();
    configId = await fixture.createConfig();
  });
  afterAll(() => fixture[Symbol.asyncDispose]());

  test('backup tells what it stored, and the second one adds only what is new', async () => {
    const first = await backupRow(await backUp());
    expect(first).toMatchObject({ fileSize: 300_005n, filePath: expect.stringMatching(/^local:.*\/snapshots\/[0-9a-f]{64}$/u) });
    expect(first.metadata).toMatchObject({ skippedCount: 0, summary: { filesNew: 2, totalFilesProcessed: 2 } });
    await writeFile(join(source, 'c.txt'), 'new');
    const second = await backupRow(await backUp());
    expect(second.metadata).toMatchObject({ summary: { filesNew: 1, filesUnmodified: 2 } });
    const repository = await fixture.database.db.client.repository.findFirstOrThrow();
    expect(repository).toMatchObject({ state: 'ready', resticId: expect.stringMatching(/^[0-9a-f]{64}$/u), probeErrorCode: null });
  });

  test('backup adopts the snapshot that a former attempt of it left', async () => {
    const id = await backUp();
    const before = await backupRow(id);
    const result = { snapshotId: null, fileSize: null, checksum: null, filePath: null };
    const lost = { ...queuedAgain, ...result };
    await fixture.database.db.client.backupJob.update({ where: { id }, data: lost });
    await fixture.queues.enqueueRun('backup', id);
    await fixture.eventually('backup', id, isFinal);
    const after = await backupRow(id);
    const { snapshotId, checksum, fileSize, filePath } = before;
    expect(after).toMatchObject({ snapshotId, checksum, fileSize, filePath, attempt: 2, metadata: { adopted: true } });
  });

  test.runIf(process.getuid?.() !== 0)('backup that had to skip a file says so', async () => {
    const denied = join(source, 'denied');
    await writeFile(denied, 'x');
    await chmod(denied, 0o000);
    const id = await fixture.submitBackup(configId);
    expect(await fixture.eventually('backup', id, isFinal)).toMatchObject({ status: 'completed_with_warnings' });
    expect((await backupRow(id)).metadata).toMatchObject({ skippedCount: 1, skipped: [{ path: denied }] });
    await rm(denied);
  });

  test.each([
    ['missing', 'path_not_found'],
    ['../elsewhere', 'path_outside_roots'],
  ])('backup of %s fails with %s', async (path, code) => {
    const id = await fixture.submitBackup(await fixture.createConfig({ source: { type: 'file_system', paths: [`${source}/${path}`] } }));
    expect(await fixture.eventually('backup', id, isFinal)).toMatchObject({ status: 'failed', errorCode: code, attempt: 1 });
  });

  test('backup to a place outside of the storage roots fails', async () => {
    const path = join(fixture.folder, 'elsewhere');
    const place = { storageOptions: { type: 'local', path }, locationKey: `local:${path}` };
    const id = await fixture.submitBackup(await fixture.createConfig(place));
    expect(await fixture.eventually('backup', id, isFinal)).toMatchObject({ status: 'failed', errorCode: 'path_outside_roots' });
  });

  test('backup to a repository that was there and is gone does not make a new one', async () => {
    const path = join(fixture.folder, 'storage', 'unmounted');
    const id = await fixture.createConfig({ storageOptions: { type: 'local', path }, locationKey: `local:${path}` });
    await backUp(id);
    await rm(path, { recursive: true });
    const job = await fixture.submitBackup(id);
    expect(await fixture.eventually('backup', job, isFinal)).toMatchObject({ status: 'failed', errorCode: 'repository_missing' });
    const row = await fixture.database.db.client.repository.findFirstOrThrow({ where: { locationKey: `local:${path}` } });
    expect(row).toMatchObject({ state: 'unreachable', probeErrorCode: 'repository_missing' });
  });

  test.each(['checksum', 'integrity', 'restore_test'] as const)('verify: %s finds nothing in a whole repository', async (type) => {
    const { id, row } = await verify(await backUp(), type);
    expect(row).toMatchObject({ status: 'completed', errorMessage: null });
    const { details, verifiedAt } = await fixture.database.db.client.backupVerification.findUniqueOrThrow({ where: { id } });
    expect(details).toMatchObject(type === 'restore_test' ? { differenceCount: 0 } : { findingCount: 0 });
    expect(verifiedAt).not.toBeNull();
    expect(await leftInScratch()).toEqual([]);
  });

  test.each(['checksum', 'restore_test'] as const)('verify: %s finds a flipped byte', async (type) => {
    const path = join(fixture.folder, 'storage', `flipped-${type}`);
    const config = await fixture.createConfig({ storageOptions: { type: 'local', path }, locationKey: `local:${path}` });
    const backup = await backUp(config);
    for (const pack of await filesBelow(join(path, 'data'))) await flipByte(pack);
    const { id, row } = await verify(backup, type);
    expect(row).toMatchObject({ status: 'failed', attempt: 1 });
    expect(['verification_found_damage', 'repository_damaged']).toContain(row.errorCode);
    const { details } = await fixture.database.db.client.backupVerification.findUniqueOrThrow({ where: { id } });
    expect(type === 'checksum' ? details : { damageCount: 2 }).toMatchObject({ damageCount: expect.any(Number) });
    expect(await leftInScratch()).toEqual([]);
  });

  test('recovery brings everything back', async () => {
    const { id, row } = await recover(await backUp(), 'full');
    expect(row).toMatchObject({ status: 'completed', errorMessage: null });
    expect(await readFile(recovered('full', 'a.txt'), 'utf8')).toBe('first');
    expect(await readFile(recovered('full', 'link'), 'utf8')).toBe('first');
    const { recoveredRecords } = await fixture.database.db.client.recoveryJob.findUniqueOrThrow({ where: { id } });
    expect(recoveredRecords).toBeGreaterThanOrEqual(5n);
  });

  test('selective recovery brings back what was selected', async () => {
    const { row } = await recover(await backUp(), 'some', { paths: [join(source, 'deep')] });
    expect(row).toMatchObject({ status: 'completed' });
    expect(await readdir(recovered('some'))).toEqual(['deep']);
  });

  test('recovery refuses a folder that holds something, unless it may overwrite', async () => {
    const backup = await backUp();
    await mkdir(recovered('taken'), { recursive: true });
    await writeFile(recovered('taken', 'a.txt'), 'precious');
    expect((await recover(backup, 'taken')).row).toMatchObject({ status: 'failed', errorCode: 'target_not_empty', attempt: 1 });
    expect(await readFile(recovered('taken', 'a.txt'), 'utf8')).toBe('precious');
    expect((await recover(backup, 'taken', { overwrite: true })).row).toMatchObject({ status: 'completed' });
    expect(await readFile(recovered('taken', 'a.txt'), 'utf8')).toBe('first');
  });

  test('recovery to a place outside of the target roots is refused', async () => {
    expect((await recover(await backUp(), '../source/x')).row).toMatchObject({ status: 'failed', errorCode: 'path_outside_roots' });
  });
});

async function filesBelow(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  return entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
}

async function flipByte(path: string): Promise<void> {
  const bytes = await readFile(path);
  bytes[20] = (bytes[20] ?? 0) ^ 0xff;
  await chmod(path, 0o600);
  await writeFile(path, bytes);
}
