import type { Lsn } from '../lsn.ts';

/**
 * What goes to and fro inside the COPY of START_REPLICATION; integers big endian, clocks in µs since 2000-01-01 UTC:
 *
 *     w   start int64, server's end int64, clock int64, then WAL      a piece of the log
 *     k   server's end int64, clock int64, byte                       a sign of life; 1: answer at once
 *     r   written int64, flushed int64, applied int64, clock int64, byte      our answer
 *
 * Source: "Streaming Replication Protocol" of the documentation.
 */
export const walDataType = 0x77;
export const keepaliveType = 0x6b;
const statusType = 0x72;

/** Before the WAL of a `w`, its type included. */
export const walDataHeadBytes = 25;
const keepaliveBytes = 18;
const statusBytes = 34;

const postgresEpochMs = Date.UTC(2000, 0, 1);

/** The place of a `w`, of its first 25 bytes. */
export function decodeWalDataStart(head: Buffer): Lsn {
  return head.readBigUInt64BE(1);
}

/** Whether a `k` wants an answer. */
export function wantsReply(keepalive: Buffer): boolean {
  return keepalive.length >= keepaliveBytes && keepalive[keepaliveBytes - 1] === 1;
}

/** `flushedLsn` is what the server may forget. Nothing is applied here. */
export function encodeStatus(writtenLsn: Lsn, flushedLsn: Lsn, nowMs: number): Buffer {
  const status = Buffer.alloc(statusBytes);
  status[0] = statusType;
  status.writeBigUInt64BE(writtenLsn, 1);
  status.writeBigUInt64BE(flushedLsn, 9);
  status.writeBigInt64BE(BigInt(Math.round(nowMs - postgresEpochMs)) * 1000n, 25);
  return status;
}
