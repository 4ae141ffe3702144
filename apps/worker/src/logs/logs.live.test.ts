import { appendFile, rename, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { backends, isFinal, openWorkerFixture, type WorkerFixture } from '../testing/worker-fixture.ts';

interface LogsMetadata {
  readonly parentId: string | null;
  readonly summary: Readonly<Record<string, number>>;
  readonly logs: {
    readonly fileCount: number;
    readonly pickedUpBytes: number;
    readonly pickedUp: readonly { path: string; log: string; fromByte: number; toByte: number }[];
  };
}

describe.each(backends.slice(0, 1))('backups of logs with queues on %s', (backend) => {
  let fixture: WorkerFixture;
  let configId: string;
  let source: string;

  const backUp = async (status = 'completed'): Promise<LogsMetadata> => {
    const id = await fixture.submitBackup(configId);
    expect(await fixture.eventually('backup', id, isFinal)).toMatchObject({ status });
    const { metadata } = await fixture.database.db.client.backupJob.findUniqueOrThrow({ where: { id } });
    return metadata as unknown as LogsMetadata;
  };

  beforeAll(async () => {
    fixture = await openWorkerFixture(backend);
    source = join(fixture.folder, 'source');
    await writeFile(join(source, 'app.log'), 'line 1\n');
    await fixture.startWorker();
    configId = await fixture.createConfig({ backupType: 'logs', source: { type: 'logs', globs: [`${source}/*.log*`] } });
  });
  afterAll(() => fixture[Symbol.asyncDispose]());

  test('take what is new, and write nothing when nothing is', async () => {
    expect((await backUp()).logs).toMatchObject({ fileCount: 1, pickedUpBytes: 7 });
    expect((await backUp()).logs.pickedUpBytes).toBe(0);
    const { summary, logs } = await backUp();
    expect(summary).toMatchObject({ dataBlobs: 0, treeBlobs: 0, dataAdded: 0 });
    expect(logs.pickedUpBytes).toBe(0);
    await appendFile(join(source, 'app.log'), 'line 2\n');
    await rename(join(source, 'app.log'), join(source, 'app.log.1'));
    await writeFile(join(source, 'app.log'), 'line 3\n');
    const rotated = await backUp();
    expect(rotated.logs.pickedUp.map(({ path, fromByte, toByte }) => [path, fromByte, toByte])).toEqual([
      [join(source, 'app.log'), 0, 7],
      [join(source, 'app.log.1'), 7, 14],
    ]);
    await truncate(join(source, 'app.log'));
    expect((await backUp()).logs.pickedUpBytes).toBe(0);
  });

  test('say what is wrong when no file is there', async () => {
    const id = await fixture.submitBackup(
      await fixture.createConfig({ backupType: 'logs', source: { type: 'logs', globs: [`${source}/none/*.log`] } }),
    );
    expect(await fixture.eventually('backup', id, isFinal)).toMatchObject({ status: 'failed', errorCode: 'path_not_found' });
  });
});
