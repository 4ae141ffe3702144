import { HoldfastError } from '@holdfast/errors/holdfast-error';
import {
  blockSizeBytes,
  incrementalPathOf,
  readIncrementalHeader,
  rebuiltBlockCount,
  type IncrementalHeader,
  type ReadExactly,
} from './incremental-file.ts';

/**
 * Where the blocks of one relation file come from. Each is taken from the newest backup that has it; blocks of older backups count only
 * below every newer truncation length, and where nobody has one the server had grown the file by zeros. (pg_combinebackup looks at the
 * newest truncation length only; two by two its chains come out as here: a block that was once cut off does not come back.)
 * Memory: 12 bytes a block of the file (1.5 MiB at most), 1 MiB to read, and what readers keep open, one file a backup.
 */
export interface BackupReader {
  // Several files are open, and several reads under way, at once.
  /** Null when the backup has no file of this path. */
  open(path: string): Promise<RandomAccessFile | null>;
}

export interface RandomAccessFile {
  readonly sizeBytes: number;
  /** Fills `buffer` from `positionBytes` on; gives how many bytes there were. */
  read(buffer: Uint8Array, positionBytes: number): Promise<number>;
  close(): Promise<void>;
}

/** Written at once: 1 MiB. Blocks in it that lie side by side in a source are read with one call. */
const pieceBlockCount = 128;
const noSource = -1;

/**
 * Rebuilds the file `path` of the newest of `backups` (oldest, full one first), where it is an incremental file, and gives it to `write`
 * piece by piece; a piece is only good until `write` has settled. Codes: postgresql_chain_broken; what the readers and `write` throw.
 */
export async function rebuildFile(
  path: string,
  backups: readonly BackupReader[],
  write: (piece: Buffer) => Promise<void>,
  signal: AbortSignal,
): Promise<void> {
  const sources: RandomAccessFile[] = [];
  try {
    const blocks = await findBlocks(path, backups, sources);
    await writeBlocks(path, blocks, sources, write, signal);
  } finally {
    for (const source of sources) await source.close();
  }
}

interface BlockMap {
  readonly blockCount: number;
  /** Which source has the block; noSource for one of zeros. */
  readonly sourceOf: Int32Array;
  readonly offsetOf: Float64Array;
}

async function findBlocks(path: string, backups: readonly BackupReader[], sources: RandomAccessFile[]): Promise<BlockMap> {
  const incrementalPath = incrementalPathOf(path);
  const openIncremental = async (backup: BackupReader): Promise<IncrementalHeader | null> => {
    const file = await backup.open(incrementalPath);
    if (file === null) return null;
    sources.push(file);
    return readIncrementalHeader(incrementalPath, file.sizeBytes, exactReader(incrementalPath, file));
  };

  const newest = await openIncremental(newestOf(backups));
  if (newest === null) throw broken(path, 'it is in no backup');
  const blockCount = rebuiltBlockCount(newest);
  const map = { blockCount, sourceOf: new Int32Array(blockCount).fill(noSource), offsetOf: new Float64Array(blockCount) };
  takeBlocks(map, newest, 0, blockCount);
  let endBlock = newest.truncationBlockCount;
  for (let index = backups.length - 2; index >= 0; index--) {
    const backup = backups[index];
    if (backup === undefined) break;
    const full = await backup.open(path);
    if (full !== null) {
      sources.push(full);
      if (full.sizeBytes % blockSizeBytes !== 0) throw broken(path, `an older copy has ${full.sizeBytes} bytes`);
      takeAll(map, full.sizeBytes / blockSizeBytes, sources.length - 1, endBlock);
      return map;
    }
    const older = await openIncremental(backup);
    if (older === null) break;
    takeBlocks(map, older, sources.length - 1, endBlock);
    endBlock = Math.min(endBlock, older.truncationBlockCount);
  }
  throw broken(path, 'no older backup has a full copy of it');
}

function takeBlocks(map: BlockMap, header: IncrementalHeader, source: number, endBlock: number): void {
  for (const [index, block] of header.blockNumbers.entries()) {
    if (block < endBlock && map.sourceOf[block] === noSource) {
      map.sourceOf[block] = source;
      map.offsetOf[block] = header.dataOffsetBytes + index * blockSizeBytes;
    }
  }
}

function takeAll(map: BlockMap, fullBlockCount: number, source: number, endBlock: number): void {
  for (let block = 0; block < Math.min(fullBlockCount, endBlock); block++) {
    if (map.sourceOf[block] === noSource) {
      map.sourceOf[block] = source;
      map.offsetOf[block] = block * blockSizeBytes;
    }
  }
}

async function writeBlocks(
  path: string,
  map: BlockMap,
  sources: readonly RandomAccessFile[],
  write: (piece: Buffer) => Promise<void>,
  signal: AbortSignal,
): Promise<void> {
  const buffer = Buffer.alloc(Math.min(map.blockCount, pieceBlockCount) * blockSizeBytes);
  for (let first = 0; first < map.blockCount; first += pieceBlockCount) {
    signal.throwIfAborted();
    const endBlock = Math.min(first + pieceBlockCount, map.blockCount);
    const reads: Promise<void>[] = [];
    for (let block = first; block < endBlock;) {
      const runCount = runLength(map, block, endBlock);
      const part = buffer.subarray((block - first) * blockSizeBytes, (block - first + runCount) * blockSizeBytes);
      const source = sources[map.sourceOf[block] ?? noSource];
      if (source === undefined) part.fill(0);
      else reads.push(fill(path, source, part, map.offsetOf[block] ?? 0));
      block += runCount;
    }
    // All of them have to be over before the buffer and the files are used for anything else, also when one fails.
    const failed = (await Promise.allSettled(reads)).find((read) => read.status === 'rejected');
    if (failed !== undefined) throw failed.reason;
    await write(buffer.subarray(0, (endBlock - first) * blockSizeBytes));
  }
}

/** How many blocks from `block` on, before `endBlock`, lie side by side in one source. */
function runLength({ sourceOf, offsetOf }: BlockMap, block: number, endBlock: number): number {
  const source = sourceOf[block];
  const offset = offsetOf[block] ?? 0;
  let count = 1;
  while (block + count < endBlock && sourceOf[block + count] === source) {
    if (source !== noSource && offsetOf[block + count] !== offset + count * blockSizeBytes) break;
    count++;
  }
  return count;
}

function exactReader(path: string, file: RandomAccessFile): ReadExactly {
  return async (positionBytes, lengthBytes) => {
    const buffer = Buffer.alloc(lengthBytes);
    await fill(path, file, buffer, positionBytes);
    return buffer;
  };
}

async function fill(path: string, file: RandomAccessFile, buffer: Buffer, positionBytes: number): Promise<void> {
  for (let filled = 0; filled < buffer.length;) {
    const readCount = await file.read(buffer.subarray(filled), positionBytes + filled);
    if (readCount === 0) throw broken(path, `a copy ends at ${positionBytes + filled} of ${file.sizeBytes} bytes`);
    filled += readCount;
  }
}

function newestOf(backups: readonly BackupReader[]): BackupReader {
  const newest = backups.at(-1);
  if (newest === undefined) throw new HoldfastError('postgresql_chain_broken', 'a chain without any backup');
  return newest;
}

function broken(path: string, what: string): HoldfastError {
  return new HoldfastError('postgresql_chain_broken', `${JSON.stringify(path)} cannot be put together: ${what}`, { context: { path } });
}
