/**
 * BASE_BACKUP as each server reads it. From 15 on: options in brackets, and one COPY that frames everything; 14 knows them as bare
 * words, in this order, and sends a COPY for each archive. That WAL gets archived is not waited for: it comes with the backup, or through a
 * slot, and a backup is complete only with the WAL up to its end. VERIFY_CHECKSUMS is off, for one bad page would make the server fail after it sent
 * everything; pages are checked on the way instead (page-checksum.ts). The manifest has CRC-32C, the server's own choice: it shows damage on the
 * way, of which SHA-256 would show no more at ten times the cost, the server's included; what is stored has SHA-256 by the repository. Source: "Streaming Replication Protocol" of the documentation.
 */
export interface BaseBackupOptions {
  /** Stands in backup_label. */
  readonly label: string;
  /** `fast` writes the server's dirty pages at once, `spread` over most of checkpoint_timeout, before the first byte comes. */
  readonly checkpoint: 'fast' | 'spread';
  /** The server's own brake, in KiB a second, 32 to 1,048,576. */
  readonly maxRateKibPerS?: number | undefined;
}

export interface BaseBackupContents {
  readonly isIncremental: boolean;
  /** With the WAL from the backup's start to its end, as whole segments in pg_wal. */
  readonly includesWal: boolean;
}

export const minFramedVersion = 150_000;

export function baseBackupCommand(serverVersion: number, options: BaseBackupOptions & BaseBackupContents): string {
  const { label, checkpoint, maxRateKibPerS, includesWal, isIncremental } = options;
  if (serverVersion < minFramedVersion) {
    const words = [
      `LABEL ${quoted(label)}`,
      'PROGRESS',
      ...(checkpoint === 'fast' ? ['FAST'] : []),
      ...(includesWal ? ['WAL'] : []),
      'NOWAIT',
    ];
    if (maxRateKibPerS !== undefined) words.push(`MAX_RATE ${maxRateKibPerS}`);
    words.push('TABLESPACE_MAP', 'NOVERIFY_CHECKSUMS', "MANIFEST 'yes'", "MANIFEST_CHECKSUMS 'CRC32C'");
    return `BASE_BACKUP ${words.join(' ')}`;
  }
  const words = [
    `LABEL ${quoted(label)}`,
    'PROGRESS',
    `CHECKPOINT '${checkpoint}'`,
    ...(includesWal ? ['WAL'] : []),
    'WAIT 0',
    'TABLESPACE_MAP',
  ];
  if (maxRateKibPerS !== undefined) words.push(`MAX_RATE ${maxRateKibPerS}`);
  words.push('VERIFY_CHECKSUMS 0', "MANIFEST 'yes'", "MANIFEST_CHECKSUMS 'CRC32C'");
  if (isIncremental) words.push('INCREMENTAL');
  return `BASE_BACKUP (${words.join(', ')})`;
}

function quoted(text: string): string {
  return `'${text.replaceAll("'", "''")}'`;
}
