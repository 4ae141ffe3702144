import { createHash } from 'node:crypto';
import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { z } from 'zod';
import { formatLsn, parseLsn, type Lsn } from '../lsn.ts';

/**
 * `backup_manifest`: what a base backup consists of, as pg_verifybackup reads it and as the server wants it back for an incremental one.
 * Version 1 up to PostgreSQL 16, version 2 with the system identifier from 17 on. One file a line; the last line is the SHA-256 of all
 * lines before it. Neither the WAL nor the manifest itself is among the files.
 *
 *     { "PostgreSQL-Backup-Manifest-Version": 2,
 *     "System-Identifier": 7577…,
 *     "Files": [
 *     { "Path": "backup_label", "Size": 227, "Last-Modified": "2026-11-25 18:00:00 GMT", "Checksum-Algorithm": "SHA256", "Checksum": "…" },
 *     { "Encoded-Path": "626c…", … }          hexadecimal, where the name is not UTF-8
 *     ],
 *     "WAL-Ranges": [
 *     { "Timeline": 1, "Start-LSN": "0/2000028", "End-LSN": "0/2000100" }
 *     ],
 *     "Manifest-Checksum": "…"}
 *
 * Source: "Backup Manifest Format" of the documentation.
 */
export interface BackupManifest {
  readonly version: 1 | 2;
  /** From version 2 on. */
  readonly systemIdentifier: bigint | null;
  readonly files: readonly ManifestFile[];
  readonly walRanges: readonly WalRange[];
}

export interface ManifestFile {
  /** Inside of the data folder; files of tablespaces below pg_tblspc/<oid>/. */
  readonly path: string;
  readonly sizeBytes: number;
  /** `2026-11-25 18:00:00 GMT` */
  readonly lastModified: string;
  /** Lower-case hexadecimal; null when the backup was made without. */
  readonly checksum: string | null;
  readonly checksumAlgorithm: string | null;
}

/** What must be replayed before the files are consistent. */
export interface WalRange {
  readonly timeline: number;
  readonly startLsn: Lsn;
  readonly endLsn: Lsn;
}

const fileSchema = z.object({
  Path: z.string().optional(),
  'Encoded-Path': z.string().optional(),
  Size: z.int().min(0),
  'Last-Modified': z.string(),
  'Checksum-Algorithm': z.string().optional(),
  Checksum: z.string().optional(),
});

const manifestSchema = z.object({
  'PostgreSQL-Backup-Manifest-Version': z.union([z.literal(1), z.literal(2)]),
  Files: z.array(fileSchema),
  'WAL-Ranges': z.array(z.object({ Timeline: z.int(), 'Start-LSN': z.string(), 'End-LSN': z.string() })),
});

/** Larger than any number of JSON; taken from the text, not from JSON.parse, which would round it. */
const systemIdentifier = /^"System-Identifier": (\d{1,20}),$/mu;
const lineEnd = 0x0a;

/** Reads a manifest and verifies its own checksum. Code: postgresql_stream_damaged. */
export function parseBackupManifest(bytes: Uint8Array): BackupManifest {
  const { raw, text } = verifiedJson(bytes);
  const parsed = manifestSchema.safeParse(raw);
  if (!parsed.success) throw damaged(`is not of a known form: ${z.prettifyError(parsed.error).slice(0, 500)}`);
  const { data } = parsed;
  // Before the list of files: one of them may have any name.
  const identifier = systemIdentifier.exec(text.slice(0, text.indexOf('"Files"')))?.[1];
  return {
    version: data['PostgreSQL-Backup-Manifest-Version'],
    systemIdentifier: identifier === undefined ? null : BigInt(identifier),
    files: data.Files.map((file) => ({
      path: file.Path ?? decodePath(file['Encoded-Path'] ?? ''),
      sizeBytes: file.Size,
      lastModified: file['Last-Modified'],
      checksum: file.Checksum?.toLowerCase() ?? null,
      checksumAlgorithm: file['Checksum-Algorithm'] ?? null,
    })),
    walRanges: data['WAL-Ranges'].map((range) => ({
      timeline: range.Timeline,
      startLsn: parseLsn(range['Start-LSN']),
      endLsn: parseLsn(range['End-LSN']),
    })),
  };
}

/** Writes one as the server does. */
export function formatBackupManifest(manifest: BackupManifest): Buffer {
  const lines = [
    `{ "PostgreSQL-Backup-Manifest-Version": ${manifest.version},`,
    ...(manifest.systemIdentifier === null ? [] : [`"System-Identifier": ${manifest.systemIdentifier},`]),
    '"Files": [',
    manifest.files.map(formatFile).join(',\n'),
    '],',
    '"WAL-Ranges": [',
    manifest.walRanges.map(formatRange).join(',\n'),
    '],',
    '',
  ];
  const body = Buffer.from(lines.join('\n'));
  return Buffer.concat([body, Buffer.from(`"Manifest-Checksum": "${sha256(body)}"}\n`)]);
}

function formatFile({ path, sizeBytes, lastModified, checksum, checksumAlgorithm }: ManifestFile): string {
  const sum = checksum === null ? '' : `, "Checksum-Algorithm": ${JSON.stringify(checksumAlgorithm)}, "Checksum": "${checksum}"`;
  return `{ "Path": ${JSON.stringify(path)}, "Size": ${sizeBytes}, "Last-Modified": ${JSON.stringify(lastModified)}${sum} }`;
}

function formatRange({ timeline, startLsn, endLsn }: WalRange): string {
  return `{ "Timeline": ${timeline}, "Start-LSN": "${formatLsn(startLsn)}", "End-LSN": "${formatLsn(endLsn)}" }`;
}

/** The last line, whatever its form, holds the checksum of everything before it. */
function verifiedJson(bytes: Uint8Array): { raw: unknown; text: string } {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const text = buffer.toString('utf8');
  const start = buffer.lastIndexOf(lineEnd, -2) + 1;
  const said = /^"Manifest-Checksum": "([0-9a-f]{64})"\}\n?$/u.exec(buffer.toString('utf8', start))?.[1];
  if (said === undefined) throw damaged('does not end with its checksum');
  if (said !== sha256(buffer.subarray(0, start))) throw damaged('does not match its own checksum');
  try {
    return { raw: JSON.parse(text), text };
  } catch (error) {
    throw damaged('is no JSON', error);
  }
}

function decodePath(hex: string): string {
  return Buffer.from(hex, 'hex').toString('utf8');
}

function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

function damaged(how: string, cause?: unknown): HoldfastError {
  return new HoldfastError('postgresql_stream_damaged', `the backup manifest ${how}`, cause === undefined ? {} : { cause });
}
