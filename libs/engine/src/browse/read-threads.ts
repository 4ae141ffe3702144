import { packName } from '@holdfast/restic-format/layout';
import { untilAborted } from '@holdfast/storage/until-aborted';
import { PartBuffers } from '../part-buffers.ts';
import type { Repository } from '../repository.ts';
import { leastBusy, type ThreadGroup } from '../threads/thread-group.ts';
import { borrowPool, type BorrowedPool, type ThreadOptions } from '../threads/borrowed-pool.ts';
import { Lingering } from './lingering.ts';
import type { ReadPiece, ReadStretch } from './read-plan.ts';
import type { ReadPieceCall, ReadSessionData } from './read-thread.ts';

const readModule = new URL('read-thread.ts', import.meta.url);

/** Threads, and memory to unpack in, are made anew otherwise for each range of a file. */
const lingerMs = 5_000;
/** A thread finds its next piece waiting when it is done with one. */
const piecesPerThread = 2;
/** Pieces of one file, where a storage has to be asked for each: enough to keep a line busy on which an answer takes its time. */
const piecesOnTheirWay = 4;
/** A blob of 8 MiB, the longest that data is cut into, with what sealing adds to it. */
const partBufferBytes = 8 * 1024 * 1024 + 64 * 1024;

export interface ReadThreadsOptions {
  readonly repository: Repository;
  readonly threadOptions: ThreadOptions;
  readonly closed: AbortSignal;
}

interface OpenThreads {
  readonly borrowed: BorrowedPool;
  readonly group: ThreadGroup;
}

/** Threads that unpack pieces of files, for all who read at once. */
export class ReadThreads implements AsyncDisposable {
  readonly #options: ReadThreadsOptions;
  readonly #threads: Lingering<OpenThreads>;
  readonly #buffers = new PartBuffers(partBufferBytes);

  constructor(options: ReadThreadsOptions) {
    this.#options = options;
    const { repository, threadOptions, closed } = options;
    const data: ReadSessionData = { masterKeys: repository.masterKeys, storage: repository.storage.threadOptions ?? null };
    const open = async (): Promise<OpenThreads> => {
      // Not before: a browser that reads no large file has no threads.
      const borrowed = borrowPool(threadOptions);
      return { borrowed, group: borrowed.pool.openGroup({ module: readModule, data, signal: closed }) };
    };
    this.#threads = new Lingering({ open, close: closeThreads, lingerMs });
  }

  /** The pieces in order, some of them on their way ahead. Errors: repository_damaged, those of the storage, the signal's reason. */
  async *read(pieces: Iterable<ReadPiece>, signal: AbortSignal): AsyncGenerator<Uint8Array, void, undefined> {
    using threads = await this.#threads.use(signal);
    const { group } = threads.value;
    const isRemote = this.#options.repository.storage.threadOptions === undefined;
    const maxAhead = isRemote ? piecesOnTheirWay : group.threadCount * piecesPerThread;
    const given = new AbortController();
    const ended = AbortSignal.any([signal, given.signal]);
    const queue = pieces[Symbol.iterator]();
    const ahead: Promise<Uint8Array>[] = [];
    try {
      for (;;) {
        signal.throwIfAborted();
        while (ahead.length < maxAhead) {
          const next = queue.next();
          if (next.done === true) break;
          const coming = this.#piece(group, next.value, ended);
          // Heard of when its turn comes; if it does not come, nobody needs it.
          coming.catch(() => undefined);
          ahead.push(coming);
        }
        const bytes = await ahead.shift();
        if (bytes === undefined) return;
        signal.throwIfAborted();
        yield bytes;
      }
    } finally {
      // What is on its way is not wanted any more.
      given.abort();
      await Promise.allSettled(ahead);
    }
  }

  async #piece(group: ThreadGroup, piece: ReadPiece, signal: AbortSignal): Promise<Uint8Array> {
    const { repository } = this.#options;
    if (repository.storage.threadOptions !== undefined) return await untilAborted(this.#unpack(group, piece), signal);
    const buffers = piece.stretches.map(({ sealedBytes }) => this.#buffers.take(sealedBytes));
    // To the end of all, also after an abort: a connection or a thread may have the buffers until then.
    const fetched = await Promise.allSettled(
      piece.stretches.map((stretch, nth) =>
        fetchStretch(repository, stretch, buffers[nth] ?? new Uint8Array(new SharedArrayBuffer(0)), signal),
      ),
    );
    const failed = fetched.find((result) => result.status === 'rejected');
    if (failed !== undefined) throw failed.reason;
    try {
      return await this.#unpack(group, { ...piece, brought: buffers });
    } finally {
      for (const buffer of buffers) this.#buffers.giveBack(buffer);
    }
  }

  async #unpack(group: ThreadGroup, call: ReadPieceCall): Promise<Uint8Array> {
    const transfer = call.stretches.flatMap(({ blobs, parts }) => [blobs.buffer, parts.buffer]);
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- read-thread.ts answers
    return (await group.call(leastBusy(group), call, transfer)) as Uint8Array;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#threads[Symbol.asyncDispose]();
  }
}

async function fetchStretch(
  { storage }: Repository,
  { packId, startBytes, sealedBytes }: ReadStretch,
  into: Uint8Array<SharedArrayBuffer>,
  signal: AbortSignal,
): Promise<void> {
  const range = { offsetBytes: startBytes, lengthBytes: sealedBytes };
  const bytes = await storage.get(packName(packId), { range, into, signal });
  // Of a storage that reads into its own memory.
  if (bytes !== into) into.set(bytes);
}

async function closeThreads({ borrowed, group }: OpenThreads): Promise<void> {
  await group.close();
  await borrowed[Symbol.asyncDispose]();
}
