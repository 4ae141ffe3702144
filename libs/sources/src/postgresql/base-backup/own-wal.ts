import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { formatLsn, type Lsn } from '../lsn.ts';
import { walSegmentName, walSegmentStart } from '../wal-segment.ts';
import type { WalRange } from './backup-manifest.ts';
import type { SeenFile } from './manifest-differences.ts';

/**
 * The WAL that comes with a base backup: at the end of the data folder's archive, whole segments from the one with the start to the one
 * with the end, each followed by an empty `pg_wal/archive_status/<segment>.done`, which keeps a restored server from archiving it again.
 * No manifest lists these files; its WAL ranges say what has to be there. Source: src/backend/backup/basebackup.c.
 */
export interface BackupPlaces {
  readonly segmentSizeBytes: number;
  readonly start: { readonly timeline: number; readonly startLsn: Lsn };
  readonly end: { readonly timeline: number; readonly endLsn: Lsn };
}

const statusFile = /^pg_wal\/archive_status\/[0-9A-F]{24}\.done$/u;

/**
 * Throws unless the files hold all WAL of the backup, and the manifest asks for no more. Codes: postgresql_stream_damaged;
 * postgresql_interrupted, when a standby followed its primary to another timeline meanwhile.
 */
export function assertOwnWal(files: ReadonlyMap<string, SeenFile>, ranges: readonly WalRange[], places: BackupPlaces): void {
  const { start, end, segmentSizeBytes } = places;
  if (start.timeline !== end.timeline) {
    const message = `the server went from timeline ${start.timeline} to ${end.timeline} during the base backup`;
    throw new HoldfastError('postgresql_interrupted', message, { hint: 'nothing to do: it is taken again' });
  }
  const isWhole = ({ timeline, startLsn, endLsn }: WalRange): boolean =>
    timeline === start.timeline && startLsn === start.startLsn && endLsn === end.endLsn;
  if (ranges.length !== 1 || !ranges.every(isWhole)) {
    const expected = `${formatLsn(start.startLsn)} to ${formatLsn(end.endLsn)}`;
    throw new HoldfastError('postgresql_stream_damaged', `the WAL ranges of the backup manifest are not ${expected}`);
  }
  const size = BigInt(segmentSizeBytes);
  for (let lsn = walSegmentStart(start.startLsn, segmentSizeBytes); lsn < end.endLsn; lsn += size) {
    const name = walSegmentName(start.timeline, lsn, segmentSizeBytes);
    if (files.get(`pg_wal/${name}`)?.sizeBytes === segmentSizeBytes) continue;
    throw new HoldfastError('postgresql_stream_damaged', `the base backup came without all of its WAL: ${name} is not whole`);
  }
}

/** The server's clock, in whole seconds, when it added this file after the backup's end; null for any other file. */
export function ownWalEndS(path: string, modifiedS: number): number | null {
  return statusFile.test(path) ? modifiedS : null;
}
