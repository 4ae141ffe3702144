import type { MasterKeys } from '@holdfast/restic-format/cipher';
import type { CompressionMode } from '@holdfast/restic-format/compression';
import type { FoundAttributes } from '@holdfast/sources/extended-attributes';
import type { ThreadStorageOptions } from '@holdfast/storage/storage';
import type { InspectionSubject } from '../archive-stream/chunk-inspection.ts';
import type { SharedBlobIndex } from '../blob-index.ts';
import type { SharedClaims } from '../threads/blob-claims.ts';
import type { SharedPieces } from '../threads/piece-memory.ts';

/** What the threads of a backup and the thread that leads them say to each other. Ids are 32 bytes each, side by side. */
export interface ArchiveThreadData {
  readonly masterKeys: MasterKeys;
  readonly chunkerPolynomial: bigint;
  readonly compression: CompressionMode;
  /** See Source.holdsRecords. */
  readonly holdsRecords: boolean;
  readonly index: SharedBlobIndex;
  readonly claims: SharedClaims;
  /** Where a thread writes packs by itself; null when it hands them over. */
  readonly storage: ThreadStorageOptions | null;
  readonly counters: SharedArrayBuffer;
  /** URL of what inspects chunks that come in buffers; null for nothing. */
  readonly inspector: string | null;
}

/** Int32 counters that all threads see. */
export const counters = {
  /** Groups of chunks that other threads have time for. */
  wantedGroups: 0,
  /** Packs that the leading thread still has room for. */
  uploadPlaces: 1,
  count: 2,
} as const;

export type ArchiveCall =
  /** Stores whole files. */
  | { readonly kind: 'batch'; readonly folders: readonly FolderOfFiles[] }
  /** Stores a large file, or cuts it and lets others store some of it. */
  | { readonly kind: 'file'; readonly file: number; readonly folder: string; readonly name: string; readonly mayShare: boolean }
  /** Stores chunks of a file that another thread has open and has cut. */
  | { readonly kind: 'group'; readonly descriptor: number; readonly cuts: Float64Array }
  /** The file's groups are stored: it can be closed. By its number, since its descriptor may be another file's by the time a thread hears of it. */
  | { readonly kind: 'release'; readonly file: number }
  /** Stores chunks of files that only the leading thread can read: they lie one behind the other in the buffer, which goes there and back. */
  | {
      readonly kind: 'chunks';
      readonly buffer: Uint8Array<ArrayBuffer>;
      readonly lengths: Uint32Array;
      /** See ChunksToStore. */
      readonly subjects: readonly (InspectionSubject | null)[] | null;
    }
  /** Stores trees: their bytes one behind the other. */
  | { readonly kind: 'trees'; readonly bytes: Uint8Array; readonly lengths: Uint32Array; readonly ids: Uint8Array }
  /** Ends all packs. */
  | { readonly kind: 'finish' };

export interface FolderOfFiles {
  readonly folder: string;
  readonly names: readonly string[];
}

/** One entry a file, in order. */
export interface BatchAnswer {
  readonly ids: Uint8Array;
  /** Blobs of the file; skippedFile for one that could not be read. */
  readonly blobCounts: Int32Array;
  readonly sizesBytes: Float64Array;
  /** Why, for each skipped file. */
  readonly reasons: readonly string[];
  /** Of the few files that have any, by their place in the batch. */
  readonly attributes: ReadonlyMap<number, FoundAttributes>;
}

export const skippedFile = -1;

export interface FileAnswer {
  readonly kind: 'stored' | 'skipped';
  readonly reason: string;
  readonly sizeBytes: number;
  /** Ids of chunks that this thread stored, or the number of a group that went to another one. */
  readonly segments: readonly (Uint8Array | number)[];
  /** Stays open for the groups. */
  readonly descriptor: number;
  readonly attributes: FoundAttributes;
}

export interface GroupAnswer {
  readonly ids: Uint8Array;
  /** False when the file has become shorter since it was cut: nothing of the group counts then. */
  readonly isWhole: boolean;
}

export interface ChunksAnswer {
  readonly ids: Uint8Array;
  readonly buffer: Uint8Array<ArrayBuffer>;
  readonly reports: readonly (Uint32Array | null)[];
}

/** What was not yet worth a write: the leading thread puts the rests of all threads together. */
export interface PackRest {
  /** As in a pack: see decodePackHeader. */
  readonly header: Uint8Array;
  readonly blobs: Uint8Array;
}

export type ArchiveEvent =
  | {
      readonly kind: 'pack';
      readonly id: string;
      readonly header: Uint8Array;
      readonly sizeBytes: number;
      /** The pack itself, unless it is in the storage already. */
      readonly pieces: SharedPieces | null;
    }
  | { readonly kind: 'group'; readonly file: number; readonly group: number; readonly descriptor: number; readonly cuts: Float64Array }
  | { readonly kind: 'bytes'; readonly file: number; readonly bytes: number };
