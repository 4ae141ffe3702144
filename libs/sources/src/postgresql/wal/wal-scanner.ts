import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { formatLsn, type Lsn } from '../lsn.ts';

/**
 * Reads out of WAL when transactions ended and which restore points were made: what decides to when a chain can be recovered. All else is
 * passed over, by the lengths of records. Pages of WAL begin with a header, and a record that does not fit goes on behind the next one:
 *
 *     | page header | … records, each on a multiple of 8 … | page header (so many bytes of the record before are left) | …
 *
 * Source: src/include/access/{xlogrecord.h, xlog_internal.h, xact.h}, the same in PostgreSQL 14 to 18. Integers have the byte order of the
 * server; that of big-endian machines is refused by its first page.
 */
export interface WalScan {
  /** Microseconds since 1970, by the server's clock: the greatest time of a commit or abort. Null when there was none. */
  readonly lastCommitUs: bigint | null;
  readonly restorePoints: readonly ScannedRestorePoint[];
}

export interface ScannedRestorePoint {
  readonly name: string;
  /** The end of its record, as pg_create_restore_point gives it. */
  readonly lsn: Lsn;
}

const shortPageHeaderBytes = 24;
const longPageHeaderBytes = 40;
const pageFlags = { firstIsContinued: 0x1, hasLongHeader: 0x2, firstIsOverwritten: 0x8 } as const;
const pageSizeAt = 36;
const recordHeaderBytes = 24;
/** It comes first, and never lies on two pages. */
const lengthBytes = 4;
const recordAlignment = 8;
/** Ids of resource managers, of rmgrlist.h. */
const managers = { xlog: 0, transaction: 1 } as const;
/** The upper half of a record's info byte; a transaction's highest bit says something else. */
const xlogKinds = { switch: 0x40, restorePoint: 0x70 } as const;
const transactionKinds = { commit: 0x00, abort: 0x20, commitPrepared: 0x30, abortPrepared: 0x40 } as const;
const transactionKindMask = 0x70;
const xlogKindMask = 0xf0;
const transactionEnds: ReadonlySet<number> = new Set(Object.values(transactionKinds));
/** What may stand between a record's header and its data, by its first byte: how many bytes follow that. */
const dataIds = { short: 255, long: 254, origin: 253, topTransaction: 252 } as const;
const originBytes = 2;
const topTransactionBytes = 4;
const timeBytes = 8;
const restorePointNameBytes = 64;
/** Enough for the data of every record that is looked at, whatever precedes it. */
const keptBytes = 128;
/** PostgreSQL counts from 2000. */
const epochUs = 946_684_800_000_000n;

/** The record that is being passed. */
interface OpenRecord {
  leftBytes: number;
  /** The first bytes of one that is looked at. */
  readonly kept: Buffer | null;
  keptCount: number;
}

/**
 * Takes WAL in the order in which it was written, a segment or the beginning of one at a time. Behind a gap it finds its way at the next
 * page; a record of which the beginning was not seen is not counted.
 */
export class WalScanner implements WalScan {
  lastCommitUs: bigint | null = null;
  readonly restorePoints: ScannedRestorePoint[] = [];
  #nextLsn: Lsn | null = null;
  #record: OpenRecord | null = null;

  /** `bytes` begin a segment at `startLsn`. Code: postgresql_stream_damaged, for what is no WAL of that place. */
  scan(startLsn: Lsn, bytes: Buffer): void {
    if (bytes.length < longPageHeaderBytes) return;
    if (startLsn !== this.#nextLsn) this.#record = null;
    this.#nextLsn = startLsn + BigInt(bytes.length);
    const pageBytes = bytes.readUInt32LE(pageSizeAt);
    if ((bytes.readUInt16LE(2) & pageFlags.hasLongHeader) === 0 || pageBytes < longPageHeaderBytes) {
      throw damaged(startLsn, 'a segment begins otherwise');
    }
    for (let at = 0; at < bytes.length;) {
      const inPage = at % pageBytes;
      if (inPage === 0) {
        if (bytes.length - at < shortPageHeaderBytes) return;
        at = this.#enterPage(startLsn, bytes, at);
        continue;
      }
      const next = this.#passRecord(startLsn, bytes, at, Math.min(at - inPage + pageBytes, bytes.length));
      if (next === null) return;
      at = next;
    }
  }

  #enterPage(startLsn: Lsn, bytes: Buffer, at: number): number {
    const flags = bytes.readUInt16LE(at + 2);
    const pageLsn = bytes.readBigUInt64LE(at + 8);
    if (pageLsn !== startLsn + BigInt(at)) throw damaged(startLsn + BigInt(at), `a page says that it is of ${formatLsn(pageLsn)}`);
    const leftBytes = bytes.readUInt32LE(at + 16);
    const isContinued = (flags & pageFlags.firstIsContinued) !== 0 && (flags & pageFlags.firstIsOverwritten) === 0;
    // A server that crashed in the middle of a record begins anew behind it.
    if (!isContinued || (this.#record !== null && this.#record.leftBytes !== leftBytes)) this.#record = null;
    if (isContinued) this.#record ??= { leftBytes, kept: null, keptCount: 0 };
    return at + ((flags & pageFlags.hasLongHeader) === 0 ? shortPageHeaderBytes : longPageHeaderBytes);
  }

  /** Goes on to the end of the record or of the page; null at the end of what was written. */
  #passRecord(startLsn: Lsn, bytes: Buffer, at: number, end: number): number | null {
    const record = this.#record ?? beginRecord(startLsn, bytes, at, end);
    if (record === null) return null;
    const taken = Math.min(record.leftBytes, end - at);
    if (record.kept !== null) record.keptCount += bytes.copy(record.kept, record.keptCount, at, at + taken);
    record.leftBytes -= taken;
    if (record.leftBytes > 0) {
      this.#record = record;
      return end;
    }
    this.#record = null;
    const next = at + taken + ((recordAlignment - ((at + taken) % recordAlignment)) % recordAlignment);
    if (record.kept === null) return next;
    return this.#look(record.kept.subarray(0, record.keptCount), startLsn + BigInt(next)) === 'switch' ? null : next;
  }

  #look(record: Buffer, endLsn: Lsn): 'switch' | undefined {
    const [manager, info] = [record[17], record[16] ?? 0];
    if (manager === managers.transaction && transactionEnds.has(info & transactionKindMask)) {
      const timeUs = epochUs + dataOf(record, endLsn, timeBytes).readBigInt64LE(0);
      if (this.lastCommitUs === null || timeUs > this.lastCommitUs) this.lastCommitUs = timeUs;
    } else if (manager === managers.xlog && (info & xlogKindMask) === xlogKinds.restorePoint) {
      const name = dataOf(record, endLsn, timeBytes + restorePointNameBytes).subarray(timeBytes, timeBytes + restorePointNameBytes);
      const nameEnd = name.indexOf(0);
      this.restorePoints.push({ name: name.toString('utf8', 0, nameEnd === -1 ? name.length : nameEnd), lsn: endLsn });
    } else if (manager === managers.xlog && (info & xlogKindMask) === xlogKinds.switch) return 'switch';
    return undefined;
  }
}

function beginRecord(startLsn: Lsn, bytes: Buffer, at: number, end: number): OpenRecord | null {
  if (end - at < lengthBytes) return null;
  const totalBytes = bytes.readUInt32LE(at);
  // What was never written is zeros.
  if (totalBytes === 0) return null;
  if (totalBytes < recordHeaderBytes) throw damaged(startLsn + BigInt(at), `a record of ${totalBytes} bytes`);
  const isLookedAt = end - at < recordHeaderBytes || bytes[at + 17] === managers.transaction || bytes[at + 17] === managers.xlog;
  return { leftBytes: totalBytes, kept: isLookedAt ? Buffer.alloc(Math.min(totalBytes, keptBytes)) : null, keptCount: 0 };
}

/** The record's own data, at least so many bytes of it. */
function dataOf(record: Buffer, endLsn: Lsn, leastBytes: number): Buffer {
  for (let at = recordHeaderBytes; at < record.length;) {
    const id = record[at++];
    if (id === dataIds.origin) at += originBytes;
    else if (id === dataIds.topTransaction) at += topTransactionBytes;
    else if (id === dataIds.short || id === dataIds.long) {
      const data = record.subarray(at + (id === dataIds.short ? 1 : 4));
      if (data.length >= leastBytes) return data;
      break;
    } else break;
  }
  throw damaged(endLsn, 'a record without its data ends');
}

function damaged(lsn: Lsn, what: string): HoldfastError {
  return new HoldfastError('postgresql_stream_damaged', `what came is no WAL: ${what} at ${formatLsn(lsn)}`);
}
