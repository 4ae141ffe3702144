import type { ServerComplaint } from '../postgresql-error.ts';

/**
 * Bodies of the messages that a PostgreSQL server sends, protocol 3.0: one byte of type, an int32 of length that counts itself, then
 * these bytes; integers big endian, texts ended by a zero byte. Source: "Message Formats" of the PostgreSQL documentation.
 */
export const backendType = {
  authentication: 0x52, // R
  parameterStatus: 0x53, // S
  notification: 0x41, // A
  notice: 0x4e, // N
  error: 0x45, // E
  ready: 0x5a, // Z
  rowDescription: 0x54, // T
  dataRow: 0x44, // D
  commandComplete: 0x43, // C
  emptyQuery: 0x49, // I
  copyIn: 0x47, // G
  copyOut: 0x48, // H
  copyBoth: 0x57, // W
  copyData: 0x64, // d
  copyDone: 0x63, // c
} as const;

/** The rows of one statement, each value as the server writes it in text, null for NULL. */
export interface ResultSet {
  readonly columns: readonly string[];
  readonly rows: readonly (readonly (string | null)[])[];
  /** `SELECT 1`, `START_REPLICATION`… */
  readonly tag: string;
}

const nul = 0;
/** After a column's name: table oid, attribute number, type oid, type size, modifier, format. */
const columnTailBytes = 18;

export function decodeColumns(body: Buffer): string[] {
  const columns: string[] = [];
  let at = 2;
  for (let left = body.readInt16BE(0); left > 0; left--) {
    const end = body.indexOf(nul, at);
    columns.push(body.toString('utf8', at, end));
    at = end + 1 + columnTailBytes;
  }
  return columns;
}

export function decodeRow(body: Buffer, encoding: BufferEncoding = 'utf8'): (string | null)[] {
  const row: (string | null)[] = [];
  let at = 2;
  for (let left = body.readInt16BE(0); left > 0; left--) {
    const length = body.readInt32BE(at);
    at += 4;
    row.push(length < 0 ? null : body.toString(encoding, at, at + length));
    at += Math.max(length, 0);
  }
  return row;
}

/** A text at the beginning of a body. */
export function decodeText(body: Buffer, from = 0): { readonly text: string; readonly end: number } {
  const end = body.indexOf(nul, from);
  const stop = end < 0 ? body.length : end;
  return { text: body.toString('utf8', from, stop), end: Math.min(stop + 1, body.length) };
}

/** Of ErrorResponse and NoticeResponse: fields of one letter and a text each, then a zero byte. */
export function decodeComplaint(body: Buffer): ServerComplaint {
  const fields = new Map<string, string>();
  for (let at = 0; at < body.length && body[at] !== nul;) {
    const { text, end } = decodeText(body, at + 1);
    fields.set(body.toString('latin1', at, at + 1), text);
    at = end;
  }
  return {
    sqlState: fields.get('C') ?? 'XX000',
    message: fields.get('M') ?? 'an error without a message',
    // S may be in the server's language, V never is.
    severity: fields.get('V') ?? fields.get('S'),
    routine: fields.get('R'),
  };
}
