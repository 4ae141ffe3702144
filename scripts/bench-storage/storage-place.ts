import type { StorageOptions } from '../../libs/storage/src/storage-options.ts';

/** Servers that the bench knows to start, by the type of a storage at them. */
export const placeKinds = ['s3', 'azure_blob', 'sftp', 'ftp'] as const;
export type PlaceKind = (typeof placeKinds)[number];

/** Packs go back and forth without TLS where that is to be had; in a repository both programs have what the other one cannot do without. */
export type PlaceUse = 'transfer' | 'repository';

/** What openStorage takes; a file of it is given to a program of its own. */
export interface OurPlace {
  readonly options: Exclude<StorageOptions, { type: 'local' }>;
  readonly credentials: unknown;
}

export interface RclonePlace {
  /** Of a remote, by the names of its config file: `{ type: 's3', provider: 'Other' }`. */
  readonly settings: Readonly<Record<string, string>>;
  /** Below the remote: `bucket/prefix`. */
  readonly path: string;
  readonly args: readonly string[];
}

export interface ResticPlace {
  /** The name of its options: `s3` of `s3.connections`. */
  readonly backend: string;
  readonly repository: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
}

/** One empty folder at a server, and how each program calls it. */
export interface StoragePlace {
  readonly ours: OurPlace;
  readonly rclone: RclonePlace;
  /** Null where restic cannot go. */
  readonly restic: ResticPlace | null;
}

/** A running server. */
export interface PlaceServer extends AsyncDisposable {
  /** For people. */
  readonly description: string;
  /** Where transfers go, for a line before it; undefined when a line cannot stand before it. */
  readonly transferPort: number | undefined;
  /** A transfer's by another port when one is given. */
  newPlace(use: PlaceUse, port?: number): Promise<StoragePlace>;
  /** Everything that it holds is gone, and the memory that it took. */
  clear(): Promise<void>;
}
