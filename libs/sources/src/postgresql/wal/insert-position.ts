import type { Lsn } from '../lsn.ts';

/** The headers that PostgreSQL puts at the start of a page of WAL, and of a segment: xlog_internal.h, the same in 14 to 18. */
const pageHeaderBytes = 24n;
const segmentHeaderBytes = 40n;

/**
 * The end of what is written, out of what pg_current_wal_insert_lsn gives: where the next record will begin, which at the end of a page is
 * behind the header of the next one, though nothing of that is written yet. `pageBytes`: the server's wal_block_size.
 */
export function endOfInserted(insertLsn: Lsn, sizes: { readonly pageBytes: number; readonly segmentSizeBytes: number }): Lsn {
  const inSegment = insertLsn % BigInt(sizes.segmentSizeBytes);
  if (inSegment === segmentHeaderBytes) return insertLsn - segmentHeaderBytes;
  const isBehindHeader = inSegment > segmentHeaderBytes && insertLsn % BigInt(sizes.pageBytes) === pageHeaderBytes;
  return isBehindHeader ? insertLsn - pageHeaderBytes : insertLsn;
}
