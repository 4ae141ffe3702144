import { mkdtemp, readlink, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { generateMasterKeys } from '@holdfast/restic-format/cipher';
import { expect, it, onTestFinished } from 'vitest';
import { createBlobIndex } from '../blob-index.ts';
import { noise, createTestRepository } from '../testing/test-repository.ts';
import { makeSharedClaims } from '../threads/blob-claims.ts';
import type { ThreadSession } from '../threads/thread-session.ts';
import { counters, type ArchiveCall, type ArchiveThreadData, type FileAnswer } from './archive-calls.ts';
import { openThreadSession } from './archive-session.ts';

it('a file that is done with leaves open the file of another thread that has got its descriptor', async () => {
  const root = await mkdtemp(join(tmpdir(), 'holdfast-session-'));
  onTestFinished(() => rm(root, { recursive: true }));
  for (const [nth, name] of ['first', 'second'].entries()) await writeFile(join(root, name), noise(20_000_000, nth));

  const repository = await createTestRepository();
  const shared = new SharedArrayBuffer(counters.count * Int32Array.BYTES_PER_ELEMENT);
  const data: ArchiveThreadData = {
    masterKeys: generateMasterKeys(),
    chunkerPolynomial: repository.chunkerPolynomial,
    compression: 'off',
    holdsRecords: false,
    index: createBlobIndex().share(),
    claims: makeSharedClaims(),
    storage: null,
    counters: shared,
    inspector: null,
  };
  // Both in this process, as threads are: descriptors are the process's.
  const open = async (threadNumber: number): Promise<ThreadSession<ArchiveCall>> =>
    await openThreadSession(data, { threadNumber, throwIfAborted: () => {}, emit: () => {} });
  const store = async (session: ThreadSession<ArchiveCall>, file: number, name: string): Promise<FileAnswer> => {
    Atomics.store(new Int32Array(shared), counters.wantedGroups, 1);
    Atomics.store(new Int32Array(shared), counters.uploadPlaces, 100);
    const { output } = await session.handle({ kind: 'file', file, folder: root, name, mayShare: true });
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- what a file is answered with
    return output as FileAnswer;
  };

  const [one, other] = [await open(0), await open(1)];
  const first = await store(one, 1, 'first');
  // Every thread is told, the one that has the file at once, the other when it has ended what it had in hand: another file.
  await one.handle({ kind: 'release', file: 1 });
  const second = await store(other, 2, 'second');
  expect(second.descriptor).toBe(first.descriptor);
  await other.handle({ kind: 'release', file: 1 });
  expect(await readlink(`/proc/self/fd/${String(second.descriptor)}`)).toBe(join(root, 'second'));

  await other.handle({ kind: 'release', file: 2 });
  await expect(readlink(`/proc/self/fd/${String(second.descriptor)}`)).rejects.toMatchObject({ code: 'ENOENT' });
  await one.close();
  await other.close();
});
