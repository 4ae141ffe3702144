import type { ObjectId } from '@holdfast/restic-format/object-id';
import type { BlobIndex } from '../blob-index.ts';
import { maxGapBytes } from '../restore-pack.ts';
import type { ContentBlob } from './file-content.ts';

/** A piece of a file, and where in the packs it is. */
export interface ReadPiece {
  readonly stretches: readonly ReadStretch[];
  readonly plainBytes: number;
}

/** A stretch of a pack that is read in one go. */
export interface ReadStretch {
  readonly packId: ObjectId;
  readonly startBytes: number;
  readonly sealedBytes: number;
  /** By offset, each once. See PackedEntries. */
  readonly blobs: Uint8Array<ArrayBuffer>;
  /** By blob, four numbers for each place that it has in the piece: which blob, from where up to where of its plaintext, and the place. */
  readonly parts: Uint32Array<ArrayBuffer>;
}

/**
 * Of a piece. A backup writes the blobs of a file into two packs in turn, at random: what is next to each other there is some blobs apart here,
 * so a piece is of several, which are also unpacked side by side. A single blob may be longer.
 */
const maxPieceBytes = 8 * 1024 * 1024;
/** Of the first piece: whoever waits for the first byte does not wait for so many. */
const firstPieceBytes = 1024 * 1024;
/** Of a stretch: the longest blob there is. */
const maxStretchBytes = 8 * 1024 * 1024;

/** The pieces of a range of a file, in order. */
export function* readPieces(index: BlobIndex, blobs: readonly ContentBlob[]): Generator<ReadPiece, void, undefined> {
  for (let at = 0; at < blobs.length;) {
    const maxBytes = at === 0 ? firstPieceBytes : maxPieceBytes;
    const placed: PlacedBlob[] = [];
    let plainBytes = 0;
    for (; at < blobs.length; at++) {
      const blob = blobs[at];
      if (blob === undefined || (placed.length > 0 && plainBytes + blob.plainBytes > maxBytes)) break;
      placed.push({ blob, position: plainBytes });
      plainBytes += blob.to - blob.from;
    }
    yield { stretches: stretchesOf(index, placed), plainBytes };
  }
}

interface PlacedBlob {
  readonly blob: ContentBlob;
  /** In the piece. */
  readonly position: number;
}

function stretchesOf(index: BlobIndex, placed: readonly PlacedBlob[]): ReadStretch[] {
  const sorted = placed.toSorted(
    (a, b) => a.blob.place.packNumber - b.blob.place.packNumber || a.blob.place.offset - b.blob.place.offset || a.position - b.position,
  );
  const stretches: ReadStretch[] = [];
  for (let at = 0; at < sorted.length;) {
    const behind = stretchEnd(sorted, at);
    stretches.push(stretchOf(index, sorted.slice(at, behind)));
    at = behind;
  }
  return stretches;
}

/** Blobs that lie close together in one pack. */
function stretchEnd(sorted: readonly PlacedBlob[], at: number): number {
  const first = sorted[at]?.blob.place;
  let behind = at + 1;
  for (let last = first; behind < sorted.length; behind++) {
    const next = sorted[behind]?.blob.place;
    if (first === undefined || last === undefined || next === undefined || next.packNumber !== first.packNumber) break;
    if (next.offset - (last.offset + last.length) > maxGapBytes || next.offset + next.length - first.offset > maxStretchBytes) break;
    last = next;
  }
  return behind;
}

function stretchOf(index: BlobIndex, placed: readonly PlacedBlob[]): ReadStretch {
  const [first, last] = [placed[0]?.blob.place, placed.at(-1)?.blob.place];
  if (first === undefined || last === undefined) throw new RangeError('a stretch has no blob');
  const parts = new Uint32Array(placed.length * numbersPerPart);
  const entries: number[] = [];
  for (const [nth, { blob, position }] of placed.entries()) {
    if (entries.at(-1) !== blob.entry) entries.push(blob.entry);
    parts.set([entries.length - 1, blob.from, blob.to, position], nth * numbersPerPart);
  }
  return {
    packId: index.packOf(first.packNumber).packId,
    startBytes: first.offset,
    sealedBytes: last.offset + last.length - first.offset,
    blobs: new Uint8Array(index.pack(entries).bytes),
    parts,
  };
}

/** In `parts` of a stretch. */
export const numbersPerPart = 4;
