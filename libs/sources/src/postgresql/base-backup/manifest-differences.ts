import type { BackupManifest } from './backup-manifest.ts';

/** A file as it is here. */
export interface SeenFile {
  readonly sizeBytes: number;
  /** Lower-case hexadecimal, by the algorithm of the manifest; null when it was not made. */
  readonly checksum: string | null;
}

export type ManifestDifference =
  | { readonly kind: 'missing' | 'unexpected'; readonly path: string }
  | { readonly kind: 'size'; readonly path: string; readonly expectedBytes: number; readonly foundBytes: number }
  | { readonly kind: 'checksum'; readonly path: string; readonly expected: string; readonly found: string };

/** Folders and files that no manifest lists: WAL has ranges of its own, and the manifest cannot hold its own checksum. */
const unlisted = /^(?:pg_wal\/|backup_manifest$)/u;

/** Where files and manifest differ, in the manifest's order, then what it does not know. Empty when they are equal. */
export function manifestDifferences(manifest: BackupManifest, seen: ReadonlyMap<string, SeenFile>): ManifestDifference[] {
  const differences: ManifestDifference[] = [];
  const known = new Set<string>();
  for (const { path, sizeBytes, checksum } of manifest.files) {
    known.add(path);
    const file = seen.get(path);
    if (file === undefined) {
      differences.push({ kind: 'missing', path });
    } else if (file.sizeBytes !== sizeBytes) {
      differences.push({ kind: 'size', path, expectedBytes: sizeBytes, foundBytes: file.sizeBytes });
    } else if (checksum !== null && file.checksum !== null && file.checksum !== checksum) {
      differences.push({ kind: 'checksum', path, expected: checksum, found: file.checksum });
    }
  }
  for (const path of seen.keys()) if (!known.has(path) && !unlisted.test(path)) differences.push({ kind: 'unexpected', path });
  return differences;
}
