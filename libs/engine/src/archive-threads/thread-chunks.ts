import type { Arena } from '@holdfast/restic-format/arena';
import { objectIdBytes } from '@holdfast/restic-format/object-id';
import { inspectChunk, type ChunkInspector } from '../archive-stream/chunk-inspection.ts';
import type { Answer } from '../threads/thread-session.ts';
import type { ArchiveCall, ChunksAnswer } from './archive-calls.ts';

/** The save of ThreadFilesOptions. */
type SavePieces = (pieces: Uint32Array, count: number, ids: Uint8Array) => Promise<void>;

export interface ChunkStoring {
  readonly arena: Arena;
  /** The first of readRegionBytes bytes of the arena. */
  readonly address: number;
  readonly save: SavePieces;
  readonly inspector: ChunkInspector | null;
}

/** So much is inspected, hashed, compressed and sealed before the next is fetched: a core has it in its own cache meanwhile. */
const batchBytes = 512 * 1024;
/** Two are hashed in about the time of one. */
const minBatchChunks = 2;

/** Stores chunks that came in a buffer, which goes back with the answer. */
export async function storeChunks(call: ArchiveCall & { kind: 'chunks' }, storing: ChunkStoring): Promise<Answer> {
  const { buffer, lengths, subjects } = call;
  const { memory } = storing.arena;
  const pieces = new Uint32Array(lengths.length * 2);
  const ids = new Uint8Array(lengths.length * objectIdBytes);
  const reports: (Uint32Array | null)[] = [];
  for (let nth = 0, at = 0; nth < lengths.length;) {
    const first = nth;
    let held = 0;
    while (nth < lengths.length && (held < batchBytes || nth - first < minBatchChunks)) {
      const length = lengths[nth] ?? 0;
      const chunk = buffer.subarray(at, at + length);
      if (subjects !== null) reports.push(inspectChunk(storing.inspector, chunk, subjects[nth] ?? null));
      memory.set(chunk, storing.address + held);
      pieces[(nth - first) * 2] = storing.address + held;
      pieces[(nth - first) * 2 + 1] = length;
      held += length;
      at += length;
      nth++;
    }
    await storing.save(pieces, nth - first, ids.subarray(first * objectIdBytes, nth * objectIdBytes));
  }
  return { output: { ids, buffer, reports } satisfies ChunksAnswer, transfer: [buffer.buffer] };
}
