import { HoldfastError } from '@holdfast/errors/holdfast-error';

/**
 * A relation file in an incremental base backup of PostgreSQL 17 or newer, `base/5/INCREMENTAL.16384` for `base/5/16384`: the blocks
 * that changed since the backup before, each whole. All numbers are u32, little endian as the servers are that we meet:
 *
 *     0xd3ae1f0d   block count   truncation length (blocks)   block number × count   zeros up to a multiple of 8,192   block × count
 *
 * A file without blocks has no padding: 12 bytes. The truncation length is how many of the blocks of older backups may still be there.
 * Source: src/backend/backup/basebackup_incremental.c and src/bin/pg_combinebackup/reconstruct.c.
 */
export interface IncrementalHeader {
  readonly blockNumbers: Uint32Array;
  readonly truncationBlockCount: number;
  /** Where the first block lies, in bytes from the file's start. */
  readonly dataOffsetBytes: number;
}

/** BLCKSZ: a choice of whoever builds a server, and nobody ships another one. */
export const blockSizeBytes = 8_192;

/** RELSEG_SIZE: a relation's file has at most 1 GiB. */
export const maxFileBlockCount = 131_072;

export const incrementalPrefix = 'INCREMENTAL.';

const magic = 0xd3ae1f0d;
const fixedHeaderBytes = 12;

/** Reads `length` bytes at a place of a file, all of them. */
export type ReadExactly = (positionBytes: number, lengthBytes: number) => Promise<Buffer>;

/**
 * Reads the header of the incremental file `path`, which is as long as its blocks demand. Takes half a MiB at most.
 * Code: postgresql_chain_broken, for what no server writes.
 */
export async function readIncrementalHeader(path: string, sizeBytes: number, read: ReadExactly): Promise<IncrementalHeader> {
  if (sizeBytes < fixedHeaderBytes) throw broken(path, `it has ${sizeBytes} bytes`);
  const fixed = await read(0, fixedHeaderBytes);
  if (fixed.readUInt32LE(0) !== magic) throw broken(path, 'it does not begin as one');
  const blockCount = fixed.readUInt32LE(4);
  const truncationBlockCount = fixed.readUInt32LE(8);
  if (blockCount > maxFileBlockCount) throw broken(path, `it counts ${blockCount} blocks`);
  if (truncationBlockCount > maxFileBlockCount) throw broken(path, `it is truncated to ${truncationBlockCount} blocks`);
  const numbersEndBytes = fixedHeaderBytes + 4 * blockCount;
  const dataOffsetBytes = blockCount === 0 ? numbersEndBytes : Math.ceil(numbersEndBytes / blockSizeBytes) * blockSizeBytes;
  const expectedBytes = dataOffsetBytes + blockCount * blockSizeBytes;
  if (sizeBytes !== expectedBytes) throw broken(path, `it has ${sizeBytes} bytes instead of ${expectedBytes}`);
  const numbers = blockCount === 0 ? Buffer.alloc(0) : await read(fixedHeaderBytes, 4 * blockCount);
  const blockNumbers = new Uint32Array(blockCount);
  for (let index = 0; index < blockCount; index++) {
    const number = numbers.readUInt32LE(4 * index);
    if (number >= maxFileBlockCount) throw broken(path, `it holds block ${number}`);
    blockNumbers[index] = number;
  }
  return { blockNumbers, truncationBlockCount, dataOffsetBytes };
}

/** How many blocks the file has in the backup that this header is of. */
export function rebuiltBlockCount({ blockNumbers, truncationBlockCount }: IncrementalHeader): number {
  return blockNumbers.reduce((count, number) => Math.max(count, number + 1), truncationBlockCount);
}

/**
 * The plain name of an incremental file, null for every other path: only relation files come like this, anywhere else a name may begin
 * with INCREMENTAL. by chance. Paths are those of the data folder, without a slash at the start.
 */
export function plainPathOf(path: string): string | null {
  const slash = path.lastIndexOf('/');
  const name = path.slice(slash + 1);
  const isOfRelation = /^(?:base|global|pg_tblspc)\//u.test(path);
  return isOfRelation && name.startsWith(incrementalPrefix) ? path.slice(0, slash + 1) + name.slice(incrementalPrefix.length) : null;
}

/** The path that `path` has where it comes as an incremental file. */
export function incrementalPathOf(path: string): string {
  const slash = path.lastIndexOf('/');
  return `${path.slice(0, slash + 1)}${incrementalPrefix}${path.slice(slash + 1)}`;
}

function broken(path: string, what: string): HoldfastError {
  return new HoldfastError('postgresql_chain_broken', `${JSON.stringify(path)} is no incremental file: ${what}`, { context: { path } });
}
