import { open, readdir, readFile, stat, symlink, utimes, writeFile, mkdir, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { backends, isFinal, openWorkerFixture, type WorkerFixture } from '../testing/worker-fixture.ts';

interface RemovalMetadata {
  readonly logs: {
    readonly removal: {
      readonly removedCount: number;
      readonly removed: readonly { path: string }[];
      readonly keptCount: number;
      readonly kept: readonly { path: string; reason: string }[];
    } | null;
  };
  readonly warnings: readonly string[];
}

let fixture: WorkerFixture;
let source: string;

const agoSeconds = (days: number): number => Date.now() / 1000 - days * 24 * 3600;
const writeOld = async (path: string, days: number, content = `${path}\n`.repeat(1000)): Promise<string> => {
  await mkdir(join(source, path, '..'), { recursive: true });
  await writeFile(join(source, path), content);
  await utimes(join(source, path), agoSeconds(days), agoSeconds(days));
  return join(source, path);
};
const isThere = async (path: string): Promise<boolean> =>
  await stat(path).then(
    () => true,
    () => false,
  );
const configOf = async (folder: string, more: object, repository = folder): Promise<string> =>
  await fixture.createConfig({
    backupType: 'logs',
    source: { type: 'logs', globs: [`${source}/${folder}/**/*`], ...more },
    storageOptions: { type: 'local', path: join(fixture.folder, 'storage', repository) },
    locationKey: `local:${join(fixture.folder, 'storage', repository)}`,
  });
const backUp = async (configId: string): Promise<{ id: string; status: string; metadata: RemovalMetadata }> => {
  const id = await fixture.submitBackup(configId);
  const { status } = await fixture.eventually('backup', id, isFinal);
  const { metadata } = await fixture.database.db.client.backupJob.findUniqueOrThrow({ where: { id } });
  return { id, status, metadata: metadata as unknown as RemovalMetadata };
};

beforeAll(async () => {
  fixture = await openWorkerFixture(backends[0] ?? 'postgresql');
  source = join(fixture.folder, 'source');
  await fixture.startWorker({ config: { logRemovalRoots: ['removed', 'links', 'damaged'].map((name) => join(source, name)) } });
});
afterAll(() => fixture[Symbol.asyncDispose]());

test('removes what is old, backed up and verified, and tells of each', async () => {
  const old = [
    await writeOld('removed/app.log.2', 4),
    await writeOld('removed/deep/x.log', 30),
    await writeOld('removed/empty.log', 5, ''),
  ];
  const young = await writeOld('removed/app.log.1', 2);
  const written = await writeOld('removed/held.log', 9);
  // Until the test ends.
  await using handle = await open(written, 'a');
  const { id, status, metadata } = await backUp(await configOf('removed', { removeAfterDays: 3 }));
  expect((await handle.stat()).size).toBeGreaterThan(0);
  expect(status).toBe('completed_with_warnings');
  expect(metadata.logs.removal).toMatchObject({ removedCount: 3, keptCount: 1, kept: [{ path: written, reason: 'is open for writing' }] });
  expect(metadata.logs.removal?.removed.map(({ path }) => path)).toEqual(old);
  for (const path of old) expect(await isThere(path)).toBe(false);
  expect(await isThere(young)).toBe(true);
  expect(await isThere(written)).toBe(true);
  const events = await fixture.database.db.client.event.findMany({ where: { subjectId: id, type: 'backup.logs_removed' } });
  expect(events.map(({ data }) => data)).toEqual([
    { backupConfigId: expect.any(String) as unknown, files: old.map((path) => ({ path, sizeBytes: expect.any(Number) as unknown })) },
  ]);
});

test('removes nothing where the operator has not allowed it, though the config asks for it', async () => {
  const path = await writeOld('forbidden/app.log', 30);
  const { status, metadata } = await backUp(await configOf('forbidden', { removeAfterDays: 1 }));
  expect(status).toBe('completed_with_warnings');
  expect(metadata.logs.removal).toMatchObject({ removedCount: 0, kept: [{ path, reason: 'is outside of HOLDFAST_LOG_REMOVAL_ROOTS' }] });
  expect(await isThere(path)).toBe(true);
});

test('removes nothing unless the config asks for it, and nothing behind a symlink', async () => {
  const path = await writeOld('links/app.log', 30);
  const elsewhere = await writeOld('elsewhere/app.log', 30);
  await symlink(join(source, 'elsewhere'), join(source, 'links', 'other'));
  await symlink(elsewhere, join(source, 'links', 'other.log'));
  const configId = await configOf('links', {});
  expect((await backUp(configId)).metadata.logs.removal).toBeNull();
  expect(await isThere(path)).toBe(true);
  const { metadata } = await backUp(await configOf('links', { removeAfterDays: 1 }));
  expect(metadata.logs.removal).toMatchObject({ removedCount: 1, removed: [{ path }], keptCount: 0 });
  expect(await isThere(elsewhere)).toBe(true);
});

test('keeps what the storage does not give back as it is', async () => {
  const path = await writeOld('damaged/app.log', 30, 'x'.repeat(100_000));
  expect((await backUp(await configOf('damaged', {}))).status).toBe('completed');
  // Some bits of every blob.
  const data = join(fixture.folder, 'storage', 'damaged', 'data');
  for (const name of await readdir(data, { recursive: true })) {
    const pack = join(data, name);
    if (!(await stat(pack)).isFile()) continue;
    const bytes = await readFile(pack);
    for (let at = 0; at < bytes.length; at += 10) bytes[at] = (bytes[at] ?? 0) ^ 1;
    await writeFile(`${pack}.new`, bytes);
    await rename(`${pack}.new`, pack);
  }
  const { status, metadata } = await backUp(await configOf('damaged', { removeAfterDays: 1 }));
  expect(status).toBe('completed_with_warnings');
  expect(metadata.logs.removal).toMatchObject({
    removedCount: 0,
    kept: [{ path, reason: expect.stringContaining('cannot be read back') as unknown }],
  });
  expect(await isThere(path)).toBe(true);
});
