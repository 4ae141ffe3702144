import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { invariant } from '@holdfast/errors/invariant';
import type { Lsn } from '../lsn.ts';
import type { WireConnection } from '../wire/wire-connection.ts';
import { ArchiveStream, type BackupStart } from './archive-stream.ts';
import { parseBackupManifest, type BackupManifest } from './backup-manifest.ts';
import { baseBackupCommand, type BaseBackupOptions } from './base-backup-command.ts';
import { emptyCrc32c, formatCrc32c } from './crc32c.ts';
import { FileCheck, type BadPage, type CheckedFile } from './file-check.ts';
import { FileContent } from './file-content.ts';
import { manifestDifferences, type SeenFile } from './manifest-differences.ts';
import { assertOwnWal, ownWalEndS } from './own-wal.ts';
import { pageSizeBytes } from './page-checksum.ts';
import { TarReader } from './tar-reader.ts';
import { uploadManifest } from './upload-manifest.ts';

/**
 * A physical base backup as it comes over a replication connection: first `start`, then every folder and file of the tablespaces and of
 * the data folder, the `manifest`, and `end`. Nothing is held but paths and checksums. The files are consistent only once the WAL from
 * `startLsn` to `endLsn` is replayed on them.
 *
 * Paths are inside of the data folder, as in the manifest: `base/5/16384`, and `pg_tblspc/<oid>/PG_15_…/5/16384` for a tablespace.
 */
export type BaseBackupEntry =
  | ({ readonly kind: 'start'; readonly arePagesChecked: boolean } & BackupStart)
  | (EntryPlace & { readonly kind: 'directory' })
  | (EntryPlace & { readonly kind: 'symlink'; readonly linkTarget: string })
  | (EntryPlace & {
      readonly kind: 'file';
      readonly sizeBytes: number;
      /** Must be taken to the end before the next entry. */
      readonly content: FileContent;
    })
  | { readonly kind: 'manifest'; readonly bytes: Buffer }
  | {
      readonly kind: 'end';
      readonly endLsn: Lsn;
      readonly timeline: number;
      readonly checkedPageCount: number;
      readonly badPageCount: number;
      /** The first ones. */
      readonly badPages: readonly BadPage[];
      /**
       * When the backup had ended and its WAL was added to it, by the server's clock: whole seconds since 1970, rounded down. Null without
       * that WAL.
       */
      readonly endedS: number | null;
    };

interface EntryPlace {
  readonly path: string;
  readonly tablespaceOid: number | null;
  /** Permission bits. */
  readonly mode: number;
  /** Seconds since 1970. */
  readonly modifiedS: number;
}

export interface ReceiveOptions extends BaseBackupOptions {
  /** The manifest of the backup that this one is to build on; needs PostgreSQL 17 and summarize_wal. */
  readonly incrementalFrom?: Uint8Array | undefined;
  /** The WAL from its start to its end comes with it, in segments of the server's size; without, the backup is not complete by itself. */
  readonly ownWal?: { readonly segmentSizeBytes: number } | undefined;
  /** Bytes that the server has read, and what it will read about. */
  readonly onProgress?: ((doneBytes: number, estimatedBytes: number) => void) | undefined;
}

const minIncrementalVersion = 170_000;
/** About 200 bytes a file: five million files. */
const maxManifestBytes = 1024 * 1024 * 1024;
/** A ruined disk makes millions. */
const maxBadPageCount = 1_000;
/** In a message: which ones, is in the manifest. */
const maxNamedCount = 5;

/**
 * Takes a base backup over `wire`, a replication connection of its own, which is closed when the taker stops early or something fails;
 * the server then ends its backup. Pages are checked where the cluster has checksums, and every file against the manifest: bad pages
 * are findings in `end`; files that are not what the manifest says, and WAL of its own that is not whole, make it fail in place of `end`.
 * Who inspects contents elsewhere has to be told of all before `end` is asked for.
 *
 * Codes: postgresql_denied, postgresql_setting_missing, postgresql_version_unsupported (incremental), postgresql_interrupted,
 * postgresql_wal_lost (incremental: the server has no summaries from there on; take a full one), postgresql_disk_full,
 * postgresql_limit_reached, postgresql_stream_damaged, postgresql_failed; the signal's reason.
 */
export async function* receiveBaseBackup(wire: WireConnection, options: ReceiveOptions): AsyncGenerator<BaseBackupEntry, void, undefined> {
  let backup: BaseBackup | null = null;
  try {
    backup = await BaseBackup.begin(wire, options);
    yield { kind: 'start', arePagesChecked: backup.arePagesChecked, ...backup.start };
    yield* backup.entries();
  } finally {
    if (backup?.hasEnded !== true) await wire.close();
  }
}

class BaseBackup {
  readonly start: BackupStart;
  readonly arePagesChecked: boolean;
  /** The server has nothing more to send. */
  hasEnded = false;
  readonly #stream: ArchiveStream;
  readonly #ownWal: ReceiveOptions['ownWal'];
  readonly #filePaths: string[] = [];
  readonly #seen = new Map<string, SeenFile>();
  readonly #badPages: BadPage[] = [];
  #badPageCount = 0;
  #checkedPageCount = 0;
  #endedS: number | null = null;

  constructor(stream: ArchiveStream, start: BackupStart, expected: Pick<BaseBackup, 'arePagesChecked'> & Pick<ReceiveOptions, 'ownWal'>) {
    this.#stream = stream;
    this.start = start;
    this.arePagesChecked = expected.arePagesChecked;
    this.#ownWal = expected.ownWal;
  }

  static async begin(wire: WireConnection, options: ReceiveOptions): Promise<BaseBackup> {
    const { incrementalFrom, ownWal, onProgress } = options;
    const isIncremental = incrementalFrom !== undefined;
    if (isIncremental && wire.serverVersion < minIncrementalVersion) {
      throw new HoldfastError('postgresql_version_unsupported', 'this server makes no incremental base backups', {
        hint: 'incremental base backups need PostgreSQL 17 or newer',
      });
    }
    const hasChecksums = (await show(wire, 'data_checksums')) === 'on' && Number(await show(wire, 'block_size')) === pageSizeBytes;
    if (isIncremental) await uploadManifest(wire, incrementalFrom);
    let estimatedBytes = 0;
    const stream = new ArchiveStream(wire, (doneBytes) => onProgress?.(doneBytes, estimatedBytes));
    wire.begin(baseBackupCommand(wire.serverVersion, { ...options, isIncremental, includesWal: ownWal !== undefined }), 'backing_up');
    const start = await stream.start();
    estimatedBytes = start.estimatedBytes;
    return new BaseBackup(stream, start, { arePagesChecked: hasChecksums, ownWal });
  }

  async *entries(): AsyncGenerator<BaseBackupEntry, void, undefined> {
    let manifest: BackupManifest | null = null;
    for (;;) {
      const part = await this.#stream.nextPart();
      switch (part.kind) {
        case 'archive':
          yield* this.#archive(part.tablespaceOid);
          break;
        case 'manifest': {
          const bytes = await this.#manifestBytes();
          manifest = parseBackupManifest(bytes);
          yield { kind: 'manifest', bytes };
          break;
        }
        case 'end': {
          this.hasEnded = true;
          if (manifest === null) throw new HoldfastError('postgresql_stream_damaged', 'the base backup ended without its manifest');
          this.#verify(manifest);
          if (this.#ownWal !== undefined) {
            assertOwnWal(this.#seen, manifest.walRanges, { ...this.#ownWal, start: this.start, end: part });
          }
          const pages = { checkedPageCount: this.#checkedPageCount, badPageCount: this.#badPageCount, badPages: this.#badPages };
          yield { ...part, ...pages, endedS: this.#endedS };
          return;
        }
      }
    }
  }

  async *#archive(tablespaceOid: number | null): AsyncGenerator<BaseBackupEntry, void, undefined> {
    const tar = new TarReader(this.#stream);
    const root = tablespaceOid === null ? '' : `pg_tblspc/${tablespaceOid}/`;
    for (let entry = await tar.next(); entry !== null; entry = await tar.next()) {
      const path = root + entry.path;
      const place = { path, tablespaceOid, mode: entry.mode, modifiedS: entry.modifiedS };
      if (entry.kind === 'directory') yield { kind: 'directory', ...place };
      else if (entry.kind === 'symlink') yield { kind: 'symlink', ...place, linkTarget: entry.linkTarget };
      else yield { kind: 'file', ...place, sizeBytes: entry.sizeBytes, content: this.#content(tar, entry.sizeBytes, path) };
      this.#endedS = ownWalEndS(path, entry.modifiedS) ?? this.#endedS;
      invariant(tar.contentLeftBytes === 0, `the content of ${path} was not taken to its end`);
      if (entry.kind === 'file') this.#filePaths.push(path);
      // There is nothing to take of an empty file, so it may be passed over.
      if (entry.kind === 'file' && entry.sizeBytes === 0) this.#seen.set(path, { sizeBytes: 0, checksum: formatCrc32c(emptyCrc32c) });
    }
  }

  #content(tar: TarReader, sizeBytes: number, path: string): FileContent {
    const check = new FileCheck({ path, startLsn: this.start.startLsn, arePagesChecked: this.arePagesChecked });
    return new FileContent(
      check,
      sizeBytes,
      (into) => tar.read(into),
      (file) => this.#note(path, file),
    );
  }

  #note(path: string, { crc, sizeBytes, checkedPageCount, badPages }: CheckedFile): void {
    this.#seen.set(path, { sizeBytes, checksum: formatCrc32c(crc) });
    this.#checkedPageCount += checkedPageCount;
    this.#badPageCount += badPages.length;
    this.#badPages.push(...badPages.slice(0, maxBadPageCount - this.#badPages.length));
  }

  async #manifestBytes(): Promise<Buffer> {
    const slices: Buffer[] = [];
    let sizeBytes = 0;
    for (let slice = await this.#stream.nextSlice(); slice !== null; slice = await this.#stream.nextSlice()) {
      slices.push(slice);
      sizeBytes += slice.length;
      if (sizeBytes > maxManifestBytes) throw new HoldfastError('postgresql_stream_damaged', 'the backup manifest does not end');
    }
    return Buffer.concat(slices);
  }

  #verify(manifest: BackupManifest): void {
    for (const path of this.#filePaths) invariant(this.#seen.has(path), `nobody told what was found in ${path}`);
    const differences = manifestDifferences(manifest, this.#seen);
    if (differences.length === 0) return;
    const named = differences.slice(0, maxNamedCount).map(({ kind, path }) => `${path} (${kind})`);
    throw new HoldfastError('postgresql_stream_damaged', `${differences.length} files are not as the manifest says: ${named.join(', ')}`);
  }
}

async function show(wire: WireConnection, setting: string): Promise<string> {
  const [result] = await wire.query(`SHOW ${setting}`, 'backing_up');
  return result?.rows[0]?.[0] ?? '';
}
