import { readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { inTransaction } from '@holdfast/database/in-transaction';
import { createVerification } from '@holdfast/database/verifications';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { isFinal, openWorkerFixture, type WorkerFixture } from '../testing/worker-fixture.ts';

const randomBytes = 1_500_000;
const textBytes = 900_000;

describe('the options of a config', () => {
  let fixture: WorkerFixture;
  beforeAll(async () => {
    fixture = await openWorkerFixture('postgresql');
    await writeFile(join(fixture.folder, 'source', 'text'), 'text that shrinks\n'.repeat(textBytes / 18));
    for (let nth = 0; nth < randomBytes / 50_000; nth++)
      await writeFile(join(fixture.folder, 'source', `random-${nth}`), crypto.getRandomValues(new Uint8Array(50_000)));
    await fixture.startWorker();
  });
  afterAll(() => fixture[Symbol.asyncDispose]());

  /** Backs up to a repository of its own; gives how long the run took, the bytes of its packs and the job. */
  const backUp = async (name: string, more: { options?: object; compressionEnabled?: boolean } = {}) => {
    const path = join(fixture.folder, 'storage', name);
    const { options = {}, ...rest } = more;
    const place = { storageOptions: { type: 'local', path }, locationKey: `local:${path}` };
    const id = await fixture.submitBackup(await fixture.createConfig({ name, ...place, ...rest, options: { ...options } }));
    expect(await fixture.eventually('backup', id, isFinal)).toMatchObject({ status: 'completed', errorMessage: null });
    const { duration } = await fixture.database.db.client.backupJob.findUniqueOrThrow({ where: { id } });
    return { id, durationMs: Number(duration), packBytes: await bytesBelow(join(path, 'data')) };
  };
  const verify = async (backupJobId: string): Promise<number> => {
    const input = { backupJobId, verificationType: 'checksum' } as const;
    const { id } = await inTransaction(fixture.database.db, (tx) => createVerification(tx, '*', input));
    await fixture.queues.enqueueRun('verify', id);
    expect(await fixture.eventually('verify', id, isFinal)).toMatchObject({ status: 'completed', errorMessage: null });
    return Number((await fixture.database.db.client.backupVerification.findUniqueOrThrow({ where: { id } })).duration);
  };

  test('say how data is compressed, and compressionEnabled false means off', async () => {
    expect((await backUp('default')).packBytes).toBeLessThan(randomBytes + textBytes / 2);
    expect((await backUp('max', { options: { compression: 'max' } })).packBytes).toBeLessThan(randomBytes + textBytes / 2);
    expect((await backUp('off', { options: { compression: 'off' } })).packBytes).toBeGreaterThan(randomBytes + textBytes);
    expect((await backUp('disabled', { compressionEnabled: false })).packBytes).toBeGreaterThan(randomBytes + textBytes);
  });

  test('limit what a backup writes, and what a verification reads', async () => {
    const rate = 1_000_000;
    // A burst is free.
    const dueMs = (randomBytes / rate) * 1000 - 300;
    const slow = await backUp('slow', { options: { uploadBytesPerSecond: rate, downloadBytesPerSecond: rate } });
    expect(slow.durationMs).toBeGreaterThan(dueMs);
    expect(await verify(slow.id)).toBeGreaterThan(dueMs);
  });

  test.runIf(process.platform === 'linux')('set the number and the priority of its threads', async () => {
    // A few small files are stored without threads.
    await writeFile(join(fixture.folder, 'source', 'large'), 'text that shrinks\n'.repeat(600_000));
    const seen = new Map<string, number>();
    const watching = new AbortController();
    const watch = watchThreads(seen, watching.signal);
    await backUp('nice', { options: { concurrency: 3, lowPriority: true, uploadBytesPerSecond: 1_000_000 } });
    watching.abort();
    await watch;
    expect(Object.fromEntries(seen)).toEqual({ 'holdfast-0': 10, 'holdfast-1': 10, 'holdfast-2': 10 });
  });
});

async function bytesBelow(folder: string): Promise<number> {
  const files = (await readdir(folder, { recursive: true, withFileTypes: true })).filter((entry) => entry.isFile());
  const sizes = await Promise.all(files.map(async ({ parentPath, name }) => (await stat(join(parentPath, name))).size));
  return sizes.reduce((sum, size) => sum + size, 0);
}

/** Notes the last niceness of the engine's threads in this process, by their names, until it is told to stop. */
async function watchThreads(seen: Map<string, number>, signal: AbortSignal): Promise<void> {
  for (; !signal.aborted; await delay(20)) {
    for (const id of await readdir('/proc/self/task')) {
      // One that has just ended has no file.
      const text = await readFile(`/proc/self/task/${id}/stat`, 'utf8').catch(() => '');
      const [, name, rest] = /\((holdfast-\d+)\) (.*)/u.exec(text) ?? [];
      if (name !== undefined) seen.set(name, Number(rest?.split(' ')[16]));
    }
  }
}
