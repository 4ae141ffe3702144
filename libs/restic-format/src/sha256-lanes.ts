import { createHash, hash, type Hash } from 'node:crypto';

import { invariant } from '@holdfast/errors/invariant';

import { addressOf } from './native-functions.ts';
import { blockBytes, columnCount, initialState, openMultiBlock, stateWordCount, type MultiBlock } from './sha256-multi-block.ts';

/**
 * Hashes many pieces of one memory at a time with SHA-256, several side by side in the processor where that is to be had: then two
 * take hardly longer than one. Long ones gain as much as short ones. Not for two threads.
 */
export interface Sha256Lanes {
  /**
   * `pieces` are pairs of where a piece begins in the memory and its length in bytes, of which the first `count` count. Writes their
   * hashes to `digests`, 32 bytes each. What streams have been given goes along. Errors: internal for a piece that is not in the memory.
   */
  hash(pieces: Uint32Array, count: number, digests: Uint8Array): void;
  /** A long piece that comes part by part, such as a pack, hashed beside others. */
  openStream(): Sha256Stream;
}

export interface Sha256Stream {
  /** The next part of it. The bytes have to stay as they are until the next call of `hash`, `add` or `digest`. */
  add(start: number, sizeBytes: number): void;
  /** The hash of all that was added, 32 bytes, of which the caller is the owner. Then the stream is a new one. */
  digest(): Uint8Array;
}

export const digestBytes = 32;

/** `options.usePublicCall`: for the test of it. */
export function createSha256Lanes(memory: Uint8Array<ArrayBuffer>, options: { usePublicCall?: boolean } = {}): Sha256Lanes {
  const multiBlock = options.usePublicCall === true ? undefined : openMultiBlock();
  return multiBlock === undefined ? publicLanes(memory) : new MultiBlockLanes(memory, multiBlock);
}

/** One message on its way: first a block that began in the part before, then whole blocks of the memory, then what is left, padded. */
interface Lane {
  readonly state: Uint32Array;
  /** Room for the bytes of an unfinished block and the padding: two blocks. */
  readonly rest: Uint8Array<ArrayBuffer>;
  readonly restAddress: number;
  restBytes: number;
  /** What is to be done next. */
  address: number;
  blockCount: number;
  /** What of the memory has not been begun. */
  start: number;
  sizeBytes: number;
  totalBytes: number;
  /** Which piece it is; a stream has none. */
  piece: number;
  isPadded: boolean;
}

/** The longer of two goes on alone when it has no more than this left: it costs less than one call more. */
const maxLoneBlockCount = 24;
/** After so many the pairs are made anew, which keeps the longest ones level. */
const sliceBlockCount = 1024;
/** The longest of them is this long at most where more than two share a call. */
const maxSharedBlockCount = 256;
/** A piece's number and its length share one double while they are sorted. */
const maxPieceCount = 2 ** 20;

class MultiBlockLanes implements Sha256Lanes {
  readonly #memory: Uint8Array<ArrayBuffer>;
  readonly #base: number;
  readonly #multiBlock: MultiBlock;
  /** Those at work, first the one with the most blocks. */
  readonly #active: Lane[] = [];
  readonly #idle: Lane[] = Array.from({ length: columnCount }, newLane);
  /** Streams with a part that waits. */
  readonly #waiting: Lane[] = [];
  #order = new Float64Array(64);
  readonly #doneCounts = new Int32Array(columnCount);
  /** Of all that is to be hashed, also what has not been begun. */
  #blocksLeft = 0;

  constructor(memory: Uint8Array<ArrayBuffer>, multiBlock: MultiBlock) {
    this.#memory = memory;
    this.#base = Number(addressOf(memory));
    this.#multiBlock = multiBlock;
  }

  hash(pieces: Uint32Array, count: number, digests: Uint8Array): void {
    invariant(count < maxPieceCount && pieces.length >= count * 2, 'there are other pieces than were told');
    invariant(digests.length >= count * digestBytes, 'there is no room for all hashes');
    const order = this.#sort(pieces, count);
    let left = count;
    while (true) {
      while (this.#active.length < columnCount && this.#waiting.length > 0) this.#begin(this.#waiting.pop());
      while (this.#active.length < columnCount && left > 0) {
        const piece = (order[--left] ?? 0) % maxPieceCount;
        this.#begin(this.#laneOf(piece, pieces[piece * 2] ?? 0, pieces[piece * 2 + 1] ?? 0));
      }
      if (this.#active.length === 0) return;
      this.#step();
      this.#settle(digests);
    }
  }

  openStream(): Sha256Stream {
    const lane = newLane();
    const settle = (): void => {
      if (this.#waiting.includes(lane)) this.hash(noPieces, 0, noDigests);
    };
    return {
      add: (start, sizeBytes) => {
        settle();
        this.#assertInside(start, sizeBytes);
        lane.totalBytes += sizeBytes;
        lane.start = start;
        lane.sizeBytes = sizeBytes;
        if (sizeBytes > 0) this.#waiting.push(lane);
      },
      digest: () => {
        settle();
        pad(lane);
        this.#active.push(lane);
        while (this.#active.length > 0) {
          this.#step();
          if (lane.blockCount === 0) this.#active.pop();
        }
        const digest = new Uint8Array(digestBytes);
        writeDigest(lane.state, digest, 0);
        restart(lane);
        return digest;
      },
    };
  }

  /** The pieces' numbers, shortest first. */
  #sort(pieces: Uint32Array, count: number): Float64Array {
    if (this.#order.length < count) this.#order = new Float64Array(count * 2);
    const order = this.#order.subarray(0, count);
    let blockSum = 0;
    for (let nth = 0; nth < count; nth++) {
      const sizeBytes = pieces[nth * 2 + 1] ?? 0;
      this.#assertInside(pieces[nth * 2] ?? 0, sizeBytes);
      order[nth] = sizeBytes * maxPieceCount + nth;
      blockSum += Math.ceil((sizeBytes + minPaddingBytes) / blockBytes);
    }
    for (const lane of this.#waiting) blockSum += Math.floor((lane.restBytes + lane.sizeBytes) / blockBytes);
    this.#blocksLeft = blockSum;
    // oxlint-disable-next-line unicorn/no-array-sort -- a copy for each call is what is saved here
    return order.sort();
  }

  /** The pointer goes to code that believes it. */
  #assertInside(start: number, sizeBytes: number): void {
    invariant(start >= 0 && sizeBytes >= 0 && start + sizeBytes <= this.#memory.length, 'a piece to hash is not in the memory');
  }

  #laneOf(piece: number, start: number, sizeBytes: number): Lane {
    const lane = this.#idle.pop();
    invariant(lane !== undefined, 'more pieces are hashed at once than there are lanes');
    restart(lane);
    lane.piece = piece;
    lane.start = start;
    lane.sizeBytes = sizeBytes;
    lane.totalBytes = sizeBytes;
    return lane;
  }

  #begin(lane: Lane | undefined): void {
    if (lane !== undefined && this.#refill(lane)) this.#active.push(lane);
  }

  /** Finds the lane its next blocks; false when it has none. */
  #refill(lane: Lane): boolean {
    if (lane.isPadded) return false;
    if (lane.restBytes > 0 && lane.sizeBytes > 0) {
      this.#take(lane, Math.min(blockBytes - lane.restBytes, lane.sizeBytes));
      if (lane.restBytes === blockBytes) {
        lane.address = lane.restAddress;
        lane.blockCount = 1;
        lane.restBytes = 0;
        return true;
      }
    } else if (lane.sizeBytes >= blockBytes) {
      lane.address = this.#base + lane.start;
      lane.blockCount = Math.floor(lane.sizeBytes / blockBytes);
      lane.start += lane.blockCount * blockBytes;
      lane.sizeBytes -= lane.blockCount * blockBytes;
      return true;
    } else if (lane.sizeBytes > 0) {
      this.#take(lane, lane.sizeBytes);
    }
    if (lane.piece === noPiece) return false;
    pad(lane);
    return true;
  }

  /** Moves the next bytes to those that make no whole block yet. */
  #take(lane: Lane, sizeBytes: number): void {
    const { rest, restBytes, start } = lane;
    const memory = this.#memory;
    // They are too few for a call that makes a view of them.
    for (let nth = 0; nth < sizeBytes; nth++) rest[restBytes + nth] = memory[start + nth] ?? 0;
    lane.restBytes += sizeBytes;
    lane.start += sizeBytes;
    lane.sizeBytes -= sizeBytes;
  }

  /** One call. */
  #step(): void {
    const { states } = this.#multiBlock;
    const active = this.#active;
    sortByLeft(active);
    const usedCount = usedLaneCount(active, this.#blocksLeft);
    const columnsUsed = usedCount <= 4 ? 4 : columnCount;
    const doneCounts = this.#doneCounts;
    for (let column = 0; column < columnsUsed; column++) {
      const lane = active[column];
      if (lane === undefined || column >= usedCount) {
        this.#multiBlock.setColumn(column, 0, 0);
        continue;
      }
      for (let word = 0; word < stateWordCount; word++) states[word * columnCount + column] = lane.state[word] ?? 0;
      const count = countBeside(lane, (column ^ 1) < usedCount ? active[column ^ 1] : undefined);
      doneCounts[column] = count;
      this.#multiBlock.setColumn(column, lane.address, count);
    }
    this.#multiBlock.run(columnsUsed);
    for (let column = 0; column < usedCount; column++) {
      const lane = active[column];
      if (lane === undefined) continue;
      for (let word = 0; word < stateWordCount; word++) lane.state[word] = states[word * columnCount + column] ?? 0;
      const done = doneCounts[column] ?? 0;
      lane.address += done * blockBytes;
      lane.blockCount -= done;
      this.#blocksLeft -= done;
    }
  }

  /** Gives lanes without blocks their next ones, or takes them out. */
  #settle(digests: Uint8Array): void {
    const active = this.#active;
    for (let nth = active.length - 1; nth >= 0; nth--) {
      const lane = active[nth];
      if (lane === undefined || lane.blockCount > 0 || this.#refill(lane)) continue;
      active.splice(nth, 1);
      if (lane.piece === noPiece) continue;
      writeDigest(lane.state, digests, lane.piece * digestBytes);
      this.#idle.push(lane);
    }
  }
}

const noPiece = -1;
/** A one bit, and the length. */
const minPaddingBytes = 9;
const noPieces = new Uint32Array(0);
const noDigests = new Uint8Array(0);

function newLane(): Lane {
  const rest = new Uint8Array(2 * blockBytes);
  const restAddress = Number(addressOf(rest));
  const begin = { restBytes: 0, address: 0, blockCount: 0, start: 0, sizeBytes: 0, totalBytes: 0, piece: noPiece, isPadded: false };
  return { state: initialState.slice(), rest, restAddress, ...begin };
}

function restart(lane: Lane): void {
  lane.state.set(initialState);
  lane.restBytes = 0;
  lane.totalBytes = 0;
  lane.isPadded = false;
}

/** What is left with a one bit, zeros and the length in bits, big-endian, behind it: one block or two. */
function pad(lane: Lane): void {
  const { rest, restBytes, totalBytes } = lane;
  lane.address = lane.restAddress;
  lane.blockCount = restBytes + minPaddingBytes <= blockBytes ? 1 : 2;
  lane.isPadded = true;
  const end = lane.blockCount * blockBytes;
  rest[restBytes] = 0x80;
  rest.fill(0, restBytes + 1, end);
  // Bits, but without their number, which is beyond 32 of them from half a gigabyte on.
  let left = totalBytes;
  rest[end - 1] = (left << 3) & 0xff;
  left = Math.floor(left / 32);
  for (let at = end - 2; left > 0; at--) {
    rest[at] = left & 0xff;
    left = Math.floor(left / 256);
  }
}

const leftIn = (lane: Lane): number => lane.blockCount + (lane.sizeBytes >>> 6);

/** By insertion, the one with the most blocks first: they are eight, and mostly in their order. */
function sortByLeft(lanes: Lane[]): void {
  for (let nth = 1; nth < lanes.length; nth++) {
    const lane = lanes[nth];
    if (lane === undefined) continue;
    let at = nth;
    for (; at > 0; at--) {
      const before = lanes[at - 1];
      if (before === undefined || leftIn(before) >= leftIn(lane)) break;
      lanes[at] = before;
    }
    lanes[at] = lane;
  }
}

/** How many of the lanes go on in the next call, so that none of them ends up alone for longer than it must. */
function usedLaneCount(lanes: readonly Lane[], blocksLeft: number): number {
  const [first] = lanes;
  if (first === undefined || lanes.length <= 2) return lanes.length;
  // One that has as many blocks as all others together needs each of them at its side. Long ones go by twos even if they have not, the
  // longest of the rest at their side: a call for each costs them little, and the short ones are left to share theirs.
  if (leftIn(first) > maxSharedBlockCount || leftIn(first) * 2 >= blocksLeft) return 2;
  return lanes.length & ~1;
}

/** How far a lane goes in the next call: as far as its neighbour, or to its end where that is near. */
function countBeside({ blockCount }: Lane, neighbour: Lane | undefined): number {
  if (neighbour === undefined) return blockCount;
  const count = blockCount - neighbour.blockCount <= maxLoneBlockCount ? blockCount : neighbour.blockCount;
  return count <= sliceBlockCount + maxLoneBlockCount ? count : sliceBlockCount;
}

function writeDigest(state: Uint32Array, digests: Uint8Array, at: number): void {
  for (let word = 0; word < stateWordCount; word++) {
    const value = state[word] ?? 0;
    digests[at + word * 4] = value >>> 24;
    digests[at + word * 4 + 1] = value >>> 16;
    digests[at + word * 4 + 2] = value >>> 8;
    digests[at + word * 4 + 3] = value;
  }
}

/** The same, one by one. */
function publicLanes(memory: Uint8Array<ArrayBuffer>): Sha256Lanes {
  const part = (start: number, sizeBytes: number): Uint8Array => {
    invariant(start >= 0 && sizeBytes >= 0 && start + sizeBytes <= memory.length, 'a piece to hash is not in the memory');
    return memory.subarray(start, start + sizeBytes);
  };
  return {
    hash(pieces, count, digests) {
      invariant(pieces.length >= count * 2, 'there are other pieces than were told');
      invariant(digests.length >= count * digestBytes, 'there is no room for all hashes');
      for (let nth = 0; nth < count; nth++) {
        digests.set(hash('sha256', part(pieces[nth * 2] ?? 0, pieces[nth * 2 + 1] ?? 0), 'buffer'), nth * digestBytes);
      }
    },
    openStream() {
      let stream: Hash | undefined;
      return {
        add: (start, sizeBytes) => void (stream ??= createHash('sha256')).update(part(start, sizeBytes)),
        digest() {
          const digest = new Uint8Array((stream ?? createHash('sha256')).digest());
          stream = undefined;
          return digest;
        },
      };
    },
  };
}
