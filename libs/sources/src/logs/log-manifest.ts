import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { z } from 'zod';

/**
 * What a backup of logs knows of each file, in its snapshot as manifest.jsonl: one JSON object a line, the first one
 * `{"format":"holdfast-logs","version":1}`, all others sorted by path. By it the next run knows what is new, and a recovery by time which
 * bytes were picked up by which run. A run that finds nothing new stores the same bytes again.
 *
 *     {"path":"/var/log/app.log","log":"20261126T031500123Z-1","origin":"/var/log/app.log","state":"present","device":"2049","inode":"131075",
 *      "sizeBytes":1500,"modified":"1764127800000000000","changed":"1764127800000000000","fromByte":1000,"toByte":1500,
 *      "run":"2026-11-26T03:30:00.123Z","head":{"bytes":1500,"sha256":"9f86…"},"tail":{"bytes":1500,"sha256":"9f86…"}}
 */

/** Decimal, of 64 bits. */
const wordSchema = z.string().regex(/^\d{1,20}$/u);
const byteCountSchema = z.int().nonnegative();
const digestSchema = z.strictObject({ bytes: byteCountSchema, sha256: z.string().regex(/^[0-9a-f]{64}$/u) });

const entrySchema = z.strictObject({
  /** Where the file was seen last. */
  path: z.string().startsWith('/'),
  /** Names one stream of bytes, whatever files it has been in: the time of the run that saw it first and a number. */
  log: z.string().min(1),
  /** Where it was seen first. */
  origin: z.string().startsWith('/'),
  /**
   * `gone` is no longer there, or holds another log; `copy` holds what another file has of the same log; `incomplete` is compressed and ends
   * before its end, so it is being written.
   */
  state: z.enum(['present', 'gone', 'copy', 'incomplete']),
  device: wordSchema,
  inode: wordSchema,
  /** As it lies on the disk; times are nanoseconds since 1970. */
  sizeBytes: byteCountSchema,
  modified: z.string().regex(/^-?\d{1,20}$/u),
  changed: z.string().regex(/^-?\d{1,20}$/u),
  /** Of the log's bytes, those that `run` picked up: of a compressed file in its plain text. */
  fromByte: byteCountSchema,
  toByte: byteCountSchema,
  run: z.iso.datetime(),
  /** The log's first bytes, and those that end at toByte; no tail where what was stored is less than what was looked at. */
  head: digestSchema,
  tail: digestSchema.nullable(),
  encoding: z.enum(['gzip', 'zstd']).optional(),
});

export type LogEntry = z.infer<typeof entrySchema>;
export type LogEncoding = NonNullable<LogEntry['encoding']>;

const firstLine = '{"format":"holdfast-logs","version":1}';

/** Fields are always in one order, so that what is the same is the same bytes. */
const fieldNames = Object.keys(entrySchema.shape);

export function encodeManifest(entries: readonly LogEntry[]): Buffer {
  return Buffer.from(`${[firstLine, ...entries.map(encodeEntry)].join('\n')}\n`);
}

function encodeEntry(entry: LogEntry): string {
  return JSON.stringify(Object.fromEntries(fieldNames.map((name) => [name, Reflect.get(entry, name)])));
}

/** Errors: repository_damaged for what is no manifest, or one of a later version. */
export function decodeManifest(bytes: Uint8Array): LogEntry[] {
  const [first, ...lines] = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('utf8').trimEnd().split('\n');
  if (first !== firstLine) throw unreadable('its first line is not that of a manifest of version 1');
  return lines.map((line, nth) => {
    try {
      return entrySchema.parse(JSON.parse(line));
    } catch (error) {
      throw unreadable(`line ${nth + 2}`, error);
    }
  });
}

function unreadable(what: string, cause?: unknown): HoldfastError {
  return new HoldfastError('repository_damaged', `the manifest of a backup of logs cannot be read: ${what}`, { cause });
}
