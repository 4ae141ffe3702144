import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { parseLsn, type Lsn } from '../lsn.ts';

/**
 * The file backup_label, which tells a server where the recovery of a base backup begins:
 *
 *     START WAL LOCATION: 0/4000028 (file 000000010000000000000004)
 *     CHECKPOINT LOCATION: 0/4000080
 *     BACKUP METHOD: streamed
 *     BACKUP FROM: primary
 *     START TIME: 2026-05-01 03:00:00 UTC
 *     LABEL: holdfast
 *     START TIMELINE: 1
 *     INCREMENTAL FROM LSN: 0/2000028        only in an incremental one
 *     INCREMENTAL FROM TLI: 1
 *
 * Source: src/backend/access/transam/xlogbackup.c and src/bin/pg_combinebackup/backup_label.c.
 */
export interface BackupLabel {
  readonly startLsn: Lsn;
  readonly timeline: number;
  /** Where the backup that it builds on began; null for a full one. */
  readonly incrementalFrom: { readonly lsn: Lsn; readonly timeline: number } | null;
}

/** Longer is none: a label has at most 1,024 bytes (MAXPGPATH) beside its few lines. */
export const maxBackupLabelBytes = 64 * 1024;

/** Code: postgresql_chain_broken, for a text that no server wrote. */
export function parseBackupLabel(text: string): BackupLabel {
  const startLsn = /^START WAL LOCATION: ([0-9A-F]+\/[0-9A-F]+) \(file [0-9A-F]{24}\)$/mu.exec(text)?.[1];
  const timeline = /^START TIMELINE: (\d+)$/mu.exec(text)?.[1];
  const fromLsn = /^INCREMENTAL FROM LSN: ([0-9A-F]+\/[0-9A-F]+)$/mu.exec(text)?.[1];
  const fromTimeline = /^INCREMENTAL FROM TLI: (\d+)$/mu.exec(text)?.[1];
  const isWhole = (fromLsn === undefined) === (fromTimeline === undefined);
  if (startLsn === undefined || timeline === undefined || !isWhole) {
    throw new HoldfastError('postgresql_chain_broken', 'the file backup_label of the base backup cannot be read');
  }
  const incrementalFrom = fromLsn === undefined ? null : { lsn: parseLsn(fromLsn), timeline: Number(fromTimeline) };
  return { startLsn: parseLsn(startLsn), timeline: Number(timeline), incrementalFrom };
}

/** The label of the full backup that an incremental one was combined to. */
export function fullBackupLabel(text: string): string {
  return text.replaceAll(/^INCREMENTAL FROM .*\n?/gmu, '');
}
