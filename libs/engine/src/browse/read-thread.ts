import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { invariant } from '@holdfast/errors/invariant';
import type { MasterKeys } from '@holdfast/restic-format/cipher';
import { packName } from '@holdfast/restic-format/layout';
import type { ThreadStorageOptions } from '@holdfast/storage/storage';
import { openObject } from '@holdfast/storage/thread-storage';
import { PackedEntries } from '../packed-entries.ts';
import { createStretchUnpacker, type SealedBlob, type StretchUnpacker } from '../stretch-unpacker.ts';
import type { OpenThreadSession } from '../threads/thread-session.ts';
import { numbersPerPart, type ReadPiece, type ReadStretch } from './read-plan.ts';

/** What a thread unpacks for a reader: pieces of files, one a call. The session's module, see thread-session.ts. */
export interface ReadSessionData {
  readonly masterKeys: MasterKeys;
  /** Null when sealed bytes are brought along. */
  readonly storage: ThreadStorageOptions | null;
}

export interface ReadPieceCall extends ReadPiece {
  /** When the storage cannot be read in a thread: the bytes of each stretch. */
  readonly brought?: readonly Uint8Array<SharedArrayBuffer>[];
}

/** Errors of calls: repository_damaged, those of the storage. */
export const openThreadSession: OpenThreadSession = (data, context) => {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- read-threads.ts opens the session
  const { masterKeys, storage } = data as ReadSessionData;
  const unpacker = createStretchUnpacker(masterKeys);
  return {
    handle(input) {
      // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- and makes the calls
      const { stretches, plainBytes, brought } = input as ReadPieceCall;
      // In memory of its own, which goes over: whoever gets it keeps it.
      const piece = new Uint8Array(plainBytes);
      for (const [nth, stretch] of stretches.entries()) {
        context.throwIfAborted();
        const window = unpacker.window(stretch.sealedBytes).subarray(0, stretch.sealedBytes);
        if (brought === undefined) readInto(window, stretch, storage);
        else window.set(brought[nth] ?? window);
        unpackStretch(unpacker, stretch, piece);
      }
      return { output: piece, transfer: [piece.buffer] };
    },
    close: () => {},
  };
};

function readInto(window: Uint8Array, { packId, startBytes }: ReadStretch, storage: ThreadStorageOptions | null): void {
  invariant(storage !== null, 'a piece is neither here nor to be read');
  const object = openObject(storage, packName(packId));
  try {
    object.read(window, startBytes);
  } finally {
    object.close();
  }
}

/** Fills the parts of the piece that are in the stretch, which is in the window. */
function unpackStretch(unpacker: StretchUnpacker, { packId, startBytes, blobs, parts }: ReadStretch, piece: Uint8Array): void {
  let at = 0;
  unpacker.unpackAll(sealedBlobs(new PackedEntries(blobs)), startBytes, (nth, plain) => {
    if (typeof plain === 'string') throw new HoldfastError('repository_damaged', `pack ${packId}: ${plain}`);
    for (; at < parts.length && parts[at] === nth; at += numbersPerPart) {
      const [from = 0, to = 0, position = 0] = parts.subarray(at + 1, at + numbersPerPart);
      piece.set(plain.subarray(from, to), position);
    }
  });
}

function sealedBlobs(entries: PackedEntries): SealedBlob[] {
  return Array.from({ length: entries.count }, (_, nth) => ({
    offset: entries.offsetAt(nth),
    length: entries.lengthAt(nth),
    plainLength: entries.plainLengthAt(nth),
    get id() {
      return entries.idAt(nth);
    },
    hasId: (digests, at) => entries.hasIdAt(nth, digests, at),
  }));
}
