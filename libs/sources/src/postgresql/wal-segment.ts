import { invariant } from '@holdfast/errors/invariant';
import type { Lsn } from './lsn.ts';

/**
 * The names of the files in pg_wal. A segment is 8 hexadecimal digits each of its timeline, of its "log" (LSN >> 32) and of its number
 * within that log; the last two make one running number only by way of the segment size:
 *
 *     00000002 00000016 000000B3     timeline 2, log 0x16, segment 0xB3 (of 256 with 16 MiB segments)
 *     00000002.history               where timeline 2 left its parents
 *
 * Source: src/include/access/xlog_internal.h.
 */

/** initdb's default; a server says its own as `wal_segment_size`: a power of two from 1 MiB to 1 GiB. */
export const defaultWalSegmentSizeBytes = 16 * 1024 * 1024;
const minSegmentSizeBytes = 1024 * 1024;
const maxSegmentSizeBytes = 1024 * 1024 * 1024;

const logSizeBytes = 1n << 32n;
const segmentName = /^[0-9A-F]{24}$/u;
const historyName = /^([0-9A-F]{8})\.history$/u;

export interface WalSegmentPlace {
  readonly timeline: number;
  /** The LSN of its first byte. */
  readonly startLsn: Lsn;
}

/** The name of the segment that holds the byte at `lsn`. `timeline` counts from 1. */
export function walSegmentName(timeline: number, lsn: Lsn, segmentSizeBytes: number): string {
  const size = checkedSize(segmentSizeBytes);
  return padded(timeline) + padded(lsn / logSizeBytes) + padded((lsn % logSizeBytes) / size);
}

/** The timeline and the start of a segment; null when the text is no name of a segment of this size. */
export function parseWalSegmentName(name: string, segmentSizeBytes: number): WalSegmentPlace | null {
  const size = checkedSize(segmentSizeBytes);
  if (!segmentName.test(name)) return null;
  const [timeline, log, segment] = [0, 8, 16].map((at) => BigInt(`0x${name.slice(at, at + 8)}`));
  if (timeline === undefined || log === undefined || segment === undefined) return null;
  if (timeline === 0n || segment >= logSizeBytes / size) return null;
  return { timeline: Number(timeline), startLsn: log * logSizeBytes + segment * size };
}

/** The LSN of the first byte of the segment that holds `lsn`. */
export function walSegmentStart(lsn: Lsn, segmentSizeBytes: number): Lsn {
  return lsn - (lsn % checkedSize(segmentSizeBytes));
}

/** The name of the file that says where `timeline` left its parents; timeline 1 has none. */
export function timelineHistoryName(timeline: number): string {
  return `${padded(timeline)}.history`;
}

/** The timeline of a history file's name; null for any other name. */
export function parseTimelineHistoryName(name: string): number | null {
  const timeline = historyName.exec(name)?.[1];
  return timeline === undefined ? null : Number.parseInt(timeline, 16);
}

function checkedSize(segmentSizeBytes: number): bigint {
  const isPower = Number.isInteger(segmentSizeBytes) && Number.isInteger(Math.log2(segmentSizeBytes));
  invariant(isPower && segmentSizeBytes >= minSegmentSizeBytes && segmentSizeBytes <= maxSegmentSizeBytes, 'no size of a WAL segment');
  return BigInt(segmentSizeBytes);
}

function padded(part: number | bigint): string {
  return part.toString(16).toUpperCase().padStart(8, '0');
}
