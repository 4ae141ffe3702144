import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { parseLsn, type Lsn } from '../lsn.ts';
import type { WireConnection } from '../wire/wire-connection.ts';

/**
 * A timeline's history file: a line for each of its ancestors, oldest first, with where it was left and why. Empty lines and comments
 * (`#`) between them.
 *
 *     1	0/5000148	no recovery target specified
 *     2	0/70000A0	before 2026-11-25 19:00:00+00
 *
 * Source: src/backend/access/transam/timeline.c.
 */
export interface TimelineAncestor {
  readonly timeline: number;
  /** The first LSN that is no longer on it. */
  readonly endLsn: Lsn;
}

export interface TimelineHistory {
  readonly timeline: number;
  /** `00000002.history` */
  readonly name: string;
  readonly bytes: Buffer;
  readonly ancestors: readonly TimelineAncestor[];
}

/** Reads the ancestors of a history file. Code: postgresql_stream_damaged. */
export function parseTimelineHistory(bytes: Uint8Array): TimelineAncestor[] {
  const lines = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('utf8').split('\n');
  return lines
    .map((line) => line.trim())
    .filter((line) => line !== '' && !line.startsWith('#'))
    .map((line) => {
      const [, timeline, lsn] = /^(\d+)\s+([0-9A-Fa-f]+\/[0-9A-Fa-f]+)/u.exec(line) ?? [];
      if (timeline === undefined || lsn === undefined) {
        throw new HoldfastError('postgresql_stream_damaged', `${JSON.stringify(line.slice(0, 80))} is no line of a timeline's history`);
      }
      return { timeline: Number(timeline), endLsn: parseLsn(lsn) };
    });
}

/** Asks for the history of a timeline above 1. Code: postgresql_wal_lost, when the server has it no more. */
export async function fetchTimelineHistory(wire: WireConnection, timeline: number): Promise<TimelineHistory> {
  // Byte by byte: the reason may hold the name of a restore point, in any encoding.
  const [result] = await wire.query(`TIMELINE_HISTORY ${timeline}`, 'reading_wal', 'latin1');
  const [name, content] = result?.rows[0] ?? [];
  if (typeof name !== 'string' || typeof content !== 'string') {
    throw new HoldfastError('postgresql_stream_damaged', `the server gave no history of timeline ${timeline}`);
  }
  const bytes = Buffer.from(content, 'latin1');
  return { timeline, name, bytes, ancestors: parseTimelineHistory(bytes) };
}
