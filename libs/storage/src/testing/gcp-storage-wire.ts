/** What the stand-in for Google Cloud Storage reads from requests, and how it says no. */

/** A refusal as the JSON API words it. */
export class Refusal extends Error {
  readonly status: number;
  readonly reason: string;

  constructor(status: number, reason: string, message: string) {
    super(message);
    this.status = status;
    this.reason = reason;
  }

  asAnswer(): { readonly status: number; readonly body: object } {
    const { status: code, reason, message } = this;
    return { status: code, body: { error: { code, message, errors: [{ domain: 'global', reason, message }] } } };
  }
}

/** The tree of `fields=a,b(c,d)`, or undefined when all is asked for. */
export interface Fields {
  readonly [name: string]: Fields | true;
}

export function fieldsOf(query: URLSearchParams): Fields | undefined {
  const text = query.get('fields');
  if (text === null) return undefined;
  const tokens = text.match(/[A-Za-z]+|[(),]|./gu) ?? [];
  let at = 0;
  const parse = (): Fields => {
    const fields: Record<string, Fields | true> = {};
    for (;;) {
      const name = tokens[at];
      if (name === undefined || !/^[A-Za-z]+$/u.test(name)) throw new Refusal(400, 'invalidParameter', `Invalid field selection ${text}`);
      at += 1;
      fields[name] = true;
      if (tokens[at] === '(') {
        at += 1;
        fields[name] = parse();
        if (tokens[at] !== ')') throw new Refusal(400, 'invalidParameter', `Invalid field selection ${text}`);
        at += 1;
      }
      if (tokens[at] !== ',') return fields;
      at += 1;
    }
  };
  const fields = parse();
  if (at !== tokens.length) throw new Refusal(400, 'invalidParameter', `Invalid field selection ${text}`);
  return fields;
}

export function pickFields(fields: Fields | undefined, value: object): object {
  if (fields === undefined) return value;
  const picked: Record<string, unknown> = {};
  // Only what is wanted is read: a checksum takes its time.
  for (const name of Object.keys(value)) {
    const wanted = fields[name];
    if (wanted === undefined) continue;
    const below = (value as Record<string, unknown>)[name];
    if (wanted === true) picked[name] = below;
    else picked[name] = Array.isArray(below) ? below.map((item: object) => pickFields(wanted, item)) : pickFields(wanted, below as object);
  }
  return picked;
}

/** The two parts of a multipart/related upload (RFC 2387): JSON first, then the object, whose bytes are a copy. */
export function parseMultipart(contentType: string | undefined, body: Buffer): { metadata: Record<string, unknown>; bytes: Buffer } {
  const boundary = /^multipart\/related;\s*boundary=(?:"([^"]+)"|([^\s;]+))\s*$/iu.exec(contentType ?? '');
  const delimiter = boundary?.[1] ?? boundary?.[2];
  if (delimiter === undefined) throw new Refusal(400, 'badRequest', 'Missing multipart boundary');
  const invalid = (): Refusal => new Refusal(400, 'badRequest', 'Malformed multipart body.');
  const opening = Buffer.from(`--${delimiter}\r\n`);
  const between = Buffer.from(`\r\n--${delimiter}`);
  if (!body.subarray(0, opening.byteLength).equals(opening)) throw invalid();
  const secondAt = body.indexOf(between, opening.byteLength);
  const endAt = body.indexOf(between, secondAt + 1);
  if (secondAt < 0 || endAt < 0 || !/^\r\n--.*--(?:\r\n)?$/u.test(body.subarray(endAt).toString('latin1'))) throw invalid();
  const [metadataType, metadataBytes] = splitPart(body.subarray(opening.byteLength, secondAt), invalid);
  const [, bytes] = splitPart(body.subarray(secondAt + between.byteLength + 2, endAt), invalid);
  if (!metadataType.startsWith('application/json')) throw new Refusal(400, 'badContent', 'Unsupported content with type');
  try {
    return { metadata: JSON.parse(metadataBytes.toString('utf8')) as Record<string, unknown>, bytes: Buffer.from(bytes) };
  } catch {
    throw new Refusal(400, 'parseError', 'Parse Error');
  }
}

function splitPart(part: Buffer, invalid: () => Refusal): readonly [type: string, bytes: Buffer] {
  const headerEnd = part.indexOf('\r\n\r\n');
  if (headerEnd < 0) throw invalid();
  const [, type] = /^content-type:\s*(.+)$/imu.exec(part.subarray(0, headerEnd).toString('latin1')) ?? [];
  if (type === undefined) throw invalid();
  return [type, part.subarray(headerEnd + 4)];
}

/** The bytes of a `range` header, with the last of them; undefined for all. Refuses one that begins past the end. */
export function rangeOf(header: string | undefined, sizeBytes: number): { readonly first: number; readonly last: number } | undefined {
  if (header === undefined) return undefined;
  const [, first, last] = /^bytes=(\d*)-(\d*)$/u.exec(header) ?? [];
  if (first === undefined || last === undefined || (first === '' && last === '')) return undefined;
  if (first === '') return sizeBytes === 0 ? unsatisfiable() : { first: Math.max(0, sizeBytes - Number(last)), last: sizeBytes - 1 };
  if (last !== '' && Number(last) < Number(first)) return undefined;
  if (Number(first) >= sizeBytes) return unsatisfiable();
  return { first: Number(first), last: last === '' ? sizeBytes - 1 : Math.min(Number(last), sizeBytes - 1) };
}

function unsatisfiable(): never {
  throw new Refusal(416, 'requestedRangeNotSatisfiable', 'Request range not satisfiable');
}

const crc32cTable = Uint32Array.from({ length: 256 }, (_, byte) => {
  let value = byte;
  for (let bit = 0; bit < 8; bit += 1) value = value & 1 ? (value >>> 1) ^ 0x82f63b78 : value >>> 1;
  return value >>> 0;
});

/** CRC32C (RFC 3720, B.4) in base64 of its big-endian bytes, as the API writes it. */
export function crc32cOf(bytes: Buffer): string {
  let crc = 0xffffffff;
  for (const byte of bytes) crc = ((crc32cTable[(crc ^ byte) & 0xff] ?? 0) ^ (crc >>> 8)) >>> 0;
  const written = Buffer.alloc(4);
  written.writeUInt32BE((crc ^ 0xffffffff) >>> 0);
  return written.toString('base64');
}
