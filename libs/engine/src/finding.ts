import type { ObjectId } from '@holdfast/restic-format/object-id';

/** Something that a check found. Damage means that data is lost or will be; a warning costs space or speed only. */
export interface Finding {
  readonly kind: FindingKind;
  readonly severity: 'damage' | 'warning';
  /** For people, in one sentence that names the thing. */
  readonly message: string;
  /** The stored object: `data/ab/ab…`, `index/…`, `snapshots/…`. */
  readonly objectName?: string;
  readonly packId?: ObjectId;
  readonly blobId?: ObjectId;
  /** What a restore would miss, at most maxAffectedListed of them; affectedCount counts all. */
  readonly affected: readonly AffectedPath[];
  readonly affectedCount: number;
}

export interface AffectedPath {
  readonly snapshotId: ObjectId;
  readonly path: string;
}

export type FindingKind =
  | 'object_hash_wrong'
  | 'object_unreadable'
  | 'pack_missing'
  | 'pack_size_wrong'
  | 'pack_header_wrong'
  | 'pack_not_indexed'
  | 'blob_damaged'
  | 'blob_not_indexed'
  | 'blob_duplicated'
  | 'index_entry_wrong'
  | 'tree_damaged'
  | 'snapshot_missing';
