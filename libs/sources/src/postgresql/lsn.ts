import { HoldfastError } from '@holdfast/errors/holdfast-error';

/**
 * A log sequence number: a byte's place in PostgreSQL's write-ahead log, 64 bits, never negative. People and SQL write it as two
 * hexadecimal halves: `16/B374D848`. Source: src/include/access/xlogdefs.h and the type pg_lsn.
 */
export type Lsn = bigint;

/** Up to eight hexadecimal digits on each side; lower case and leading zeros are read, as pg_lsn reads them. */
const pattern = /^([0-9a-f]{1,8})\/([0-9a-f]{1,8})$/iu;

/** Reads `16/B374D848`. Code: request_invalid. */
export function parseLsn(text: string): Lsn {
  const [, high, low] = pattern.exec(text) ?? [];
  if (high === undefined || low === undefined) {
    throw new HoldfastError('request_invalid', `${JSON.stringify(text.slice(0, 40))} is no LSN`, {
      hint: 'give a place in the write-ahead log as PostgreSQL shows it, such as 16/B374D848',
    });
  }
  return (BigInt(`0x${high}`) << 32n) | BigInt(`0x${low}`);
}

/** Writes it as PostgreSQL 14 to 18 do: upper case, without leading zeros. */
export function formatLsn(lsn: Lsn): string {
  return `${hexadecimal(lsn >> 32n)}/${hexadecimal(lsn & 0xffff_ffffn)}`;
}

function hexadecimal(half: bigint): string {
  return half.toString(16).toUpperCase();
}
