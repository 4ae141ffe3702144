import { createHash } from 'node:crypto';
import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { z } from 'zod';

/**
 * The file backup_manifest of a combined backup, as pg_verifybackup reads it (version 2 with the cluster's identifier is 17's):
 *
 *     { "PostgreSQL-Backup-Manifest-Version": 2,
 *     "System-Identifier": 7320280665284567118,
 *     "Files": [
 *     { "Path": "global/1262", "Size": 8192, "Last-Modified": "2026-05-01 03:00:00 GMT", "Checksum-Algorithm": "SHA256", "Checksum": "…" }
 *     ],
 *     "WAL-Ranges": [
 *     { "Timeline": 1, "Start-LSN": "0/2000028", "End-LSN": "0/2000100" }
 *     ],
 *     "Manifest-Checksum": "SHA-256 of every line before this one"}
 *
 * Source: src/backend/backup/backup_manifest.c and src/bin/pg_combinebackup/write_manifest.c.
 */
export interface ManifestFile {
  readonly path: string;
  readonly sizeBytes: number;
  readonly modified: Date;
  /** 64 hexadecimal digits. */
  readonly sha256: string;
}

export interface ManifestHead {
  /** A decimal number beyond what a double holds; null in version 1. */
  readonly systemIdentifier: string | null;
  readonly walRanges: readonly { readonly timeline: number; readonly startLsn: string; readonly endLsn: string }[];
}

/** Its version and the ranges of WAL lie within so much of its start and its end: a range takes 80 bytes, and timelines are few. */
export const manifestEdgeBytes = 64 * 1024;

/** Some 64 KiB. */
const filesPerPiece = 256;

const lsn = z.string().regex(/^[0-9A-F]+\/[0-9A-F]+$/u);
const rangesSchema = z.array(z.object({ Timeline: z.int().min(1), 'Start-LSN': lsn, 'End-LSN': lsn })).min(1);

/** What of the newest backup's manifest stays true for the combined one, from its first and last bytes. Code: postgresql_chain_broken. */
export function parseManifestEdges(start: Buffer, end: Buffer): ManifestHead {
  // Not as JSON: the identifier would be rounded, and a million files would be made objects for nothing.
  const head = /^\{ "PostgreSQL-Backup-Manifest-Version": (\d+),\s*(?:"System-Identifier": (\d+),)?/u.exec(start.toString('latin1'));
  const tail = /"WAL-Ranges": (\[[^\]]*\])[^\]]*$/u.exec(end.toString('latin1'));
  if (head === null || tail === null) throw broken();
  try {
    const found: unknown = JSON.parse(tail[1] ?? '');
    const walRanges = rangesSchema
      .parse(found)
      .map((range) => ({ timeline: range.Timeline, startLsn: range['Start-LSN'], endLsn: range['End-LSN'] }));
    return { systemIdentifier: head[2] ?? null, walRanges };
  } catch (error) {
    throw broken(error);
  }
}

/** The manifest's bytes in pieces. */
export function* encodeManifest({ systemIdentifier, walRanges }: ManifestHead, files: readonly ManifestFile[]): Generator<Buffer> {
  const hash = createHash('sha256');
  const version = systemIdentifier === null ? 1 : 2;
  const identifier = systemIdentifier === null ? '' : `"System-Identifier": ${systemIdentifier},\n`;
  const ranges = walRanges.map(
    ({ timeline, startLsn, endLsn }) => `{ "Timeline": ${timeline}, "Start-LSN": "${startLsn}", "End-LSN": "${endLsn}" }`,
  );
  const hashed = (text: string): Buffer => {
    const piece = Buffer.from(text);
    hash.update(piece);
    return piece;
  };
  yield hashed(`{ "PostgreSQL-Backup-Manifest-Version": ${version},\n${identifier}"Files": [\n`);
  for (let first = 0; first < files.length; first += filesPerPiece) {
    const lines = files
      .slice(first, first + filesPerPiece)
      .map(encodeFile)
      .join(',\n');
    yield hashed(`${lines}${first + filesPerPiece < files.length ? ',' : ''}\n`);
  }
  yield hashed(`],\n"WAL-Ranges": [\n${ranges.join(',\n')}\n],\n`);
  yield Buffer.from(`"Manifest-Checksum": "${hash.digest('hex')}"}\n`);
}

function encodeFile({ path, sizeBytes, modified, sha256 }: ManifestFile): string {
  const time = modified.toISOString().slice(0, 19).replace('T', ' ');
  const checksum = `"Checksum-Algorithm": "SHA256", "Checksum": "${sha256}"`;
  return `{ "Path": ${JSON.stringify(path)}, "Size": ${sizeBytes}, "Last-Modified": "${time} GMT", ${checksum} }`;
}

function broken(cause?: unknown): HoldfastError {
  return new HoldfastError('postgresql_chain_broken', 'the file backup_manifest of the newest base backup cannot be read', { cause });
}
