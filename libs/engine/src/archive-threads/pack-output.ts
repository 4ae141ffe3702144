import { packName } from '@holdfast/restic-format/layout';
import type { ThreadStorageOptions } from '@holdfast/storage/storage';
import { beginObject } from '@holdfast/storage/thread-storage';
import { giveBackPieces, PieceMemory, PieceWriter } from '../threads/piece-memory.ts';
import type { SessionContext } from '../threads/thread-session.ts';
import { counters, type ArchiveEvent } from './archive-calls.ts';

/** Where the bytes of one pack go as it grows. */
export interface PackOutput {
  /** The bytes are the caller's again when it returns. */
  append(bytes: Uint8Array): void;
  /** When it resolves, the pack is durable, or on its way to who makes it so. */
  commit(pack: EndedPack): Promise<void>;
  discard(): void;
}

export interface EndedPack {
  readonly id: string;
  readonly header: Uint8Array;
  readonly sizeBytes: number;
}

export type OpenPackOutput = () => Promise<PackOutput>;

/** The thread writes the pack into the storage by itself, and tells when it has landed. */
export function writingOutput(storage: ThreadStorageOptions, context: SessionContext): OpenPackOutput {
  return async () => {
    const object = await beginObject(storage, 'data');
    return {
      append: (bytes) => object.append(bytes),
      async commit(pack) {
        await object.commit(packName(pack.id));
        context.emit({ kind: 'pack', ...pack, pieces: null } satisfies ArchiveEvent);
      },
      discard: () => object.discard(),
    };
  };
}

/** How long the thread sleeps before it looks whether it was told to give up. */
const waitSliceMs = 100;

/** The pack gathers in memory and is handed over whole. When as many as there are places for are on their way, the thread sleeps. */
export function handingOutput(context: SessionContext, counterBuffer: SharedArrayBuffer): OpenPackOutput {
  const shared = new Int32Array(counterBuffer);
  const memory = new PieceMemory();
  const takePlace = (): void => {
    for (;;) {
      context.throwIfAborted();
      const places = Atomics.load(shared, counters.uploadPlaces);
      if (places <= 0) Atomics.wait(shared, counters.uploadPlaces, places, waitSliceMs);
      else if (Atomics.compareExchange(shared, counters.uploadPlaces, places, places - 1) === places) return;
    }
  };
  return async () => {
    const writer = new PieceWriter(memory);
    return {
      append: (bytes) => writer.append(bytes),
      async commit(pack) {
        takePlace();
        context.emit({ kind: 'pack', ...pack, pieces: writer.take() } satisfies ArchiveEvent);
      },
      discard: () => giveBackPieces(writer.take()),
    };
  };
}
