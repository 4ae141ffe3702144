import { hash } from 'node:crypto';

import { addressOf, loadNativeFunctions } from './native-functions.ts';

/**
 * The compression function of SHA-256 over several messages at once, from OpenSSL's crypto/sha/asm/sha256-mb-x86_64.pl. One message
 * leaves the processor waiting for itself; two beside each other take hardly longer than one.
 *
 * The call takes the states of eight columns, word by word (8 × 8 u32), and for each column where its blocks begin and how many there
 * are (u64 ‖ i32 ‖ 4 bytes). Neighbouring columns are worked on as a pair, pair after pair: a pair takes as long as its longer
 * column, which is why the caller puts those of the same length side by side.
 */
export const columnCount = 8;
export const blockBytes = 64;
export const stateWordCount = 8;

/** FIPS 180-4, section 5.3.3. */
export const initialState = Uint32Array.of(0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19);

export interface MultiBlock {
  /** The word `nth` of column c is at nth · columnCount + c. */
  readonly states: Uint32Array;
  /** The next run has `blockCount` blocks at `address` for this column; with 0 its state stays as it is. */
  setColumn(column: number, address: number, blockCount: number): void;
  /** Works on the first `columnsUsed` columns. */
  run(columnsUsed: number): void;
}

const definitions = { sha256_multi_block: { arguments: ['buffer', 'buffer', 'i32'], return: 'void' } } as const;

let opened: MultiBlock | undefined | 'not-tried' = 'not-tried';

/** One for the thread: nothing is kept in it between runs. Undefined where it is not to be had, or gives other hashes. */
export function openMultiBlock(): MultiBlock | undefined {
  if (opened === 'not-tried') opened = tryOpen();
  return opened;
}

function tryOpen(): MultiBlock | undefined {
  // The name is x86-64's alone; elsewhere, and in a Node with an OpenSSL of its own, it is not found.
  const functions = loadNativeFunctions(definitions);
  if (functions === undefined) return undefined;
  const states = new Uint32Array(columnCount * stateWordCount);
  const descriptors = new Uint32Array(columnCount * 4);
  const multiBlock: MultiBlock = {
    states,
    setColumn(column, address, blockCount) {
      descriptors[column * 4] = address >>> 0;
      descriptors[column * 4 + 1] = Math.floor(address / 2 ** 32);
      descriptors[column * 4 + 2] = blockCount;
    },
    run(columnsUsed) {
      // Columns come in fours.
      functions.sha256_multi_block(states, descriptors, columnsUsed <= 4 ? 1 : 2);
    },
  };
  return givesRightHashes(multiBlock) ? multiBlock : undefined;
}

/** Whether columns of 0, 1, 2, … blocks come to the hashes that node:crypto has for them: the name is nobody's promise. */
export function givesRightHashes(multiBlock: MultiBlock): boolean {
  const { states } = multiBlock;
  const message = Uint8Array.from({ length: columnCount * blockBytes }, (_, at) => (at * 167) ^ (at >>> 3));
  const address = Number(addressOf(message));
  for (let column = 0; column < columnCount; column++) {
    const size = column * blockBytes;
    // The padding is the column's last block, so that what comes out is a hash.
    const padded = new Uint8Array(size + blockBytes);
    padded.set(message.subarray(0, size));
    padded[size] = 0x80;
    new DataView(padded.buffer).setUint32(size + blockBytes - 4, size * 8);
    for (let word = 0; word < stateWordCount; word++) {
      for (let other = 0; other < columnCount; other++) states[word * columnCount + other] = initialState[word] ?? 0;
    }
    // The column itself in one go, its neighbours with other lengths.
    for (let other = 0; other < columnCount; other++) multiBlock.setColumn(other, address, other);
    multiBlock.setColumn(column, Number(addressOf(padded)), column + 1);
    multiBlock.run(columnCount);
    const digest = Buffer.alloc(32);
    for (let word = 0; word < stateWordCount; word++) digest.writeUInt32BE(states[word * columnCount + column] ?? 0, word * 4);
    for (let other = 0; other < columnCount; other++) multiBlock.setColumn(other, 0, 0);
    if (!digest.equals(hash('sha256', message.subarray(0, size), 'buffer'))) return false;
  }
  return true;
}
