import { createHash } from 'node:crypto';
import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { formatBackupManifest, parseBackupManifest, type BackupManifest, type ManifestFile } from '../base-backup/backup-manifest.ts';
import { fullBackupLabel, maxBackupLabelBytes, parseBackupLabel, type BackupLabel } from './backup-label.ts';
import { rebuildFile, type BackupReader, type RandomAccessFile } from './combined-file.ts';
import { plainPathOf } from './incremental-file.ts';

/**
 * Makes one full base backup out of a full one and the incremental ones that build on it, as pg_combinebackup does: the files are those
 * of the newest; what comes there as INCREMENTAL.<name> is rebuilt from all of them. Nothing needs room beside the result: readers
 * are read where they are, and a file is written as it is put together (memory: 4 MiB for each of four files at once, and what readers hold).
 */
export interface ListedBackupReader extends BackupReader {
  /** Everything below the data folder, each folder before what is in it; paths without a slash at the start, such as `base/5/1259`. */
  entries(): AsyncIterable<BackupEntry>;
}

export interface BackupEntry {
  readonly path: string;
  readonly type: 'dir' | 'file';
  readonly modified: Date;
}

export interface CombinedWriter {
  makeDirectory(path: string): Promise<void>;
  /** Of a file that is not there yet. What was written may be used again once `write` has settled. */
  createFile(path: string): Promise<{ write(piece: Uint8Array): Promise<void>; close(): Promise<void> }>;
}

export interface CombineOptions {
  /** The full backup first, then each with the one before it as its parent. The last one is what comes out. */
  readonly chain: readonly ListedBackupReader[];
  readonly writer: CombinedWriter;
  readonly signal: AbortSignal;
  readonly onProgress?: ((progress: CombineResult) => void) | undefined;
}

export interface CombineResult {
  readonly fileCount: number;
  /** Of these, how many were put together from blocks. */
  readonly rebuiltCount: number;
  readonly bytes: number;
}

const labelPath = 'backup_label';
const manifestPath = 'backup_manifest';
const controlPath = 'global/pg_control';
const systemIdentifierBytes = 8;
/** Some 200 bytes a file: a cluster of a million relations. */
const maxManifestBytes = 256 * 1024 * 1024;
const copyBytes = 1024 * 1024;
/** Most files are small, and most of their time is waiting for calls. */
const filesAtOnce = 4;

/**
 * Combines the chain. The result has a new backup_manifest (SHA-256, the newest's WAL ranges) and a backup_label of a full backup. The
 * control file comes last: what an interrupted run leaves behind is nothing that a server starts from.
 * Codes: postgresql_chain_broken; what readers and writer throw.
 */
export async function combineBackups({ chain, writer, signal, onProgress }: CombineOptions): Promise<CombineResult> {
  const newest = chain.at(-1);
  if (newest === undefined) throw new HoldfastError('postgresql_chain_broken', 'a chain without any backup');
  const label = await checkChain(chain);
  const manifest = await readManifest(newest);

  const tally = { fileCount: 0, rebuiltCount: 0, bytes: 0 };
  // In the order of the list, whichever is finished first.
  const made = new Map<string, ManifestFile | null>();
  const putFile = async (path: string, modified: Date, produce: (write: Write) => Promise<void>): Promise<void> => {
    if (made.has(path)) throw broken(`${path} is there twice`);
    made.set(path, null);
    const file = await writeFile(writer, path, modified, produce);
    made.set(path, file);
    tally.fileCount++;
    tally.bytes += file.sizeBytes;
    onProgress?.({ ...tally });
  };

  let controlModified: Date | null = null;
  await forEachFile(newest, writer, signal, async ({ path, modified }) => {
    const plainPath = plainPathOf(path);
    if (path === controlPath) controlModified = modified;
    else if (path === labelPath) await putFile(path, modified, (write) => write(Buffer.from(fullBackupLabel(label))));
    else if (plainPath !== null) {
      tally.rebuiltCount++;
      await putFile(plainPath, modified, (write) => rebuildFile(plainPath, chain, write, signal));
    } else if (path !== manifestPath) await putFile(path, modified, (write) => copyFile(newest, path, write, signal));
  });
  if (controlModified === null) throw broken(`the newest base backup lists no ${controlPath}`);
  await putFile(controlPath, controlModified, (write) => copyFile(newest, controlPath, write, signal));
  const listed = [...made.values()].filter((file) => file !== null).filter(({ path }) => !path.startsWith('pg_wal/'));
  await writeFile(writer, manifestPath, new Date(0), (write) => write(formatBackupManifest({ ...manifest, files: listed })));
  return tally;
}

/** Gives every file of the backup to `work`, several at once; folders are made on the way. Nothing is under way any more when it throws. */
async function forEachFile(
  backup: ListedBackupReader,
  writer: CombinedWriter,
  signal: AbortSignal,
  work: (entry: BackupEntry) => Promise<void>,
): Promise<void> {
  const files = (async function* (): AsyncGenerator<BackupEntry> {
    for await (const entry of backup.entries()) {
      if (entry.type === 'dir') await writer.makeDirectory(entry.path);
      else yield entry;
    }
  })();
  const failure = new AbortController();
  const takeFiles = async (): Promise<void> => {
    try {
      for (let next = await files.next(); next.done !== true && !failure.signal.aborted; next = await files.next()) {
        signal.throwIfAborted();
        await work(next.value);
      }
    } catch (error) {
      failure.abort();
      throw error;
    }
  };
  const results = await Promise.allSettled(Array.from({ length: filesAtOnce }, takeFiles));
  await files.return(undefined);
  const failed = results.find((result) => result.status === 'rejected');
  if (failed !== undefined) throw failed.reason;
}

/** Compares each label with the one before, and whose cluster they are. Gives the newest label's text. */
async function checkChain(chain: readonly BackupReader[]): Promise<string> {
  let before: { label: BackupLabel; systemIdentifier: bigint } | null = null;
  let text = '';
  for (const [index, backup] of chain.entries()) {
    text = (await readSmallFile(backup, labelPath, maxBackupLabelBytes)).toString('utf8');
    const label = parseBackupLabel(text);
    const systemIdentifier = await readSystemIdentifier(backup);
    const name = `backup ${index + 1} of ${chain.length}`;
    if (before === null) {
      if (label.incrementalFrom !== null) throw broken(`${name} is incremental, and the first must be a full one`);
    } else {
      const { lsn, timeline } = label.incrementalFrom ?? {};
      if (lsn === undefined) throw broken(`${name} is a full one, and only the first can be`);
      if (lsn !== before.label.startLsn || timeline !== before.label.timeline) throw broken(`${name} does not build on the one before it`);
      if (systemIdentifier !== before.systemIdentifier) throw broken(`${name} is of another cluster than the one before it`);
    }
    before = { label, systemIdentifier };
  }
  return text;
}

/** The control file begins with it, whatever the version. */
async function readSystemIdentifier(backup: BackupReader): Promise<bigint> {
  return withFile(backup, controlPath, async (file) => {
    const bytes = await readPart(controlPath, file, 0, systemIdentifierBytes);
    return bytes.readBigUInt64LE(0);
  });
}

/** Its ranges of WAL and its cluster stay true for the combined backup. */
async function readManifest(backup: BackupReader): Promise<BackupManifest> {
  const bytes = await readSmallFile(backup, manifestPath, maxManifestBytes);
  try {
    return parseBackupManifest(bytes);
  } catch (error) {
    throw new HoldfastError('postgresql_chain_broken', 'the manifest of the newest base backup cannot be read', { cause: error });
  }
}

type Write = (piece: Buffer) => Promise<void>;

async function writeFile(
  writer: CombinedWriter,
  path: string,
  modified: Date,
  produce: (write: Write) => Promise<void>,
): Promise<ManifestFile> {
  const file = await writer.createFile(path);
  try {
    const hash = createHash('sha256');
    let sizeBytes = 0;
    await produce(async (piece) => {
      hash.update(piece);
      sizeBytes += piece.length;
      await file.write(piece);
    });
    return { path, sizeBytes, lastModified: formatModified(modified), checksum: hash.digest('hex'), checksumAlgorithm: 'SHA256' };
  } finally {
    await file.close();
  }
}

/** As manifests have it: `2026-05-01 03:00:00 GMT`. */
function formatModified(modified: Date): string {
  return `${modified.toISOString().slice(0, 19).replace('T', ' ')} GMT`;
}

async function copyFile(backup: BackupReader, path: string, write: Write, signal: AbortSignal): Promise<void> {
  await withFile(backup, path, async (file) => {
    const buffer = Buffer.alloc(Math.min(copyBytes, file.sizeBytes));
    for (let positionBytes = 0; positionBytes < file.sizeBytes;) {
      signal.throwIfAborted();
      const readCount = await file.read(buffer, positionBytes);
      if (readCount === 0) throw broken(`${path} ends at ${positionBytes} of ${file.sizeBytes} bytes`);
      await write(buffer.subarray(0, readCount));
      positionBytes += readCount;
    }
  });
}

async function readSmallFile(backup: BackupReader, path: string, limitBytes: number): Promise<Buffer> {
  return withFile(backup, path, async (file) => {
    if (file.sizeBytes > limitBytes) throw broken(`${path} has ${file.sizeBytes} bytes`);
    return readPart(path, file, 0, file.sizeBytes);
  });
}

async function readPart(path: string, file: RandomAccessFile, positionBytes: number, lengthBytes: number): Promise<Buffer> {
  const buffer = Buffer.alloc(lengthBytes);
  for (let filled = 0; filled < buffer.length;) {
    const readCount = await file.read(buffer.subarray(filled), positionBytes + filled);
    if (readCount === 0) throw broken(`${path} is cut off`);
    filled += readCount;
  }
  return buffer;
}

async function withFile<T>(backup: BackupReader, path: string, use: (file: RandomAccessFile) => Promise<T>): Promise<T> {
  const file = await backup.open(path);
  if (file === null) throw broken(`a base backup has no ${path}`);
  try {
    return await use(file);
  } finally {
    await file.close();
  }
}

function broken(what: string): HoldfastError {
  return new HoldfastError('postgresql_chain_broken', `the base backups cannot be combined: ${what}`);
}
