import { createCipheriv, createHash } from 'node:crypto';

/** Repeatable numbers of a seed (mulberry32): the same data on every machine, so that figures of two machines can be compared. */
export class RandomStream {
  #state: number;

  constructor(seed: string) {
    this.#state = createHash('sha256').update(seed).digest().readUInt32LE(0);
  }

  /** 0 to 2^32 - 1. */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), this.#state | 1);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)) ^ mixed;
    return (mixed ^ (mixed >>> 14)) >>> 0;
  }

  /** 0 to `limit` - 1. */
  below(limit: number): number {
    return Math.floor((this.next() / 2 ** 32) * limit);
  }

  /** From 0 up to and without 1. */
  fraction(): number {
    return this.next() / 2 ** 32;
  }
}

/** Fills with bytes that no compressor makes smaller: a cipher's key stream, which costs a processor almost nothing. */
export function createNoise(seed: string): (into: Buffer) => void {
  const cipher = createCipheriv('aes-256-ctr', createHash('sha256').update(seed).digest(), Buffer.alloc(16));
  return (into) => void cipher.update(into.fill(0)).copy(into);
}
