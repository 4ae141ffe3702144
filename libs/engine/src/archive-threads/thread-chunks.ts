import type { Arena } from '@holdfast/restic-format/arena';
import { objectIdBytes } from '@holdfast/restic-format/object-id';
import type { Answer } from '../threads/thread-session.ts';
import type { ArchiveCall, ChunksAnswer } from './archive-calls.ts';

/** The save of ThreadFilesOptions. */
type SavePieces = (pieces: Uint32Array, count: number, ids: Uint8Array) => Promise<void>;

/** Stores chunks that came in a buffer, from the arena's `address` on; the buffer goes back with the answer. */
export async function storeChunks(
  { buffer, lengths }: ArchiveCall & { kind: 'chunks' },
  { memory }: Arena,
  address: number,
  save: SavePieces,
): Promise<Answer> {
  const pieces = new Uint32Array(lengths.length * 2);
  let bytes = 0;
  for (const [nth, length] of lengths.entries()) {
    pieces.set([address + bytes, length], nth * 2);
    bytes += length;
  }
  memory.set(buffer.subarray(0, bytes), address);
  const ids = new Uint8Array(lengths.length * objectIdBytes);
  await save(pieces, lengths.length, ids);
  return { output: { ids, buffer } satisfies ChunksAnswer, transfer: [buffer.buffer] };
}
