import { HoldfastError } from '@holdfast/errors/holdfast-error';

/**
 * Which thread stores a blob: the first to claim its id. Tables in shared memory that all threads look into without locks. A slot
 * is free (0), being written (1) or taken (2). When a table is full enough, new ids go to the next, larger one, so that none ever
 * moves. Two threads that claim one id just when its table fills may both get it: the blob is then stored twice, which is harmless.
 */
export interface BlobClaims {
  /** True for the first who asks; `id` are 32 bytes. */
  claim(id: Uint8Array): boolean;
}

/** What another thread makes its BlobClaims from. */
export type SharedClaims = readonly SharedArrayBuffer[];

const idWords = 8;
const firstSlotCount = 1 << 15;
/** Each table is so much larger than the one before: seven hold 80 million blobs, far more than one backup brings. */
const growthShift = 2;
const maxTables = 7;
/** Beyond this share of taken slots probing gets long. */
const maxLoad = 0.6;
const [writing, taken] = [1, 2];

/** All tables at once, but empty: whoever comes to a table first lets it grow to its size. */
export function makeSharedClaims(): SharedClaims {
  const tables: SharedArrayBuffer[] = [];
  for (let nth = 0; nth < maxTables; nth++) {
    const slotCount = firstSlotCount << (growthShift * nth);
    try {
      tables.push(new SharedArrayBuffer(0, { maxByteLength: (1 + slotCount * (1 + idWords)) * Int32Array.BYTES_PER_ELEMENT }));
    } catch (error) {
      // Larger than what this machine gives out; the tables before it do until they are full.
      if (error instanceof RangeError && nth > 0) break;
      throw error;
    }
  }
  return tables;
}

export function openBlobClaims(shared: SharedClaims): BlobClaims {
  const tables: ClaimTable[] = [];
  return {
    claim(id) {
      const words = new Int32Array(id.buffer, id.byteOffset, idWords);
      for (const [nth, buffer] of shared.entries()) {
        const table = (tables[nth] ??= openTable(buffer));
        if (table.isFull) {
          if (table.has(words)) return false;
        } else return table.claim(words);
      }
      throw new HoldfastError('internal', 'one backup cannot hold so many new blobs', { hint: 'split the source into several configs' });
    },
  };
}

function openTable(buffer: SharedArrayBuffer): ClaimTable {
  // Another thread may do the same at this moment; a buffer that has its size already stays as it is.
  buffer.grow(buffer.maxByteLength);
  return new ClaimTable(new Int32Array(buffer, 0, buffer.maxByteLength / Int32Array.BYTES_PER_ELEMENT));
}

class ClaimTable {
  /** The count of taken slots, then a state for each slot, then the ids. */
  readonly #words: Int32Array;
  readonly #slotCount: number;

  constructor(words: Int32Array) {
    this.#words = words;
    this.#slotCount = (words.length - 1) / (1 + idWords);
  }

  get isFull(): boolean {
    return Atomics.load(this.#words, 0) >= this.#slotCount * maxLoad;
  }

  has(id: Int32Array): boolean {
    for (let slot = this.#firstSlot(id); ; slot = this.#nextSlot(slot)) {
      const state = this.#settledState(slot);
      if (state !== taken) return false;
      if (this.#holds(slot, id)) return true;
    }
  }

  claim(id: Int32Array): boolean {
    for (let slot = this.#firstSlot(id); ; slot = this.#nextSlot(slot)) {
      if (this.#settledState(slot) !== taken && Atomics.compareExchange(this.#words, 1 + slot, 0, writing) === 0) {
        this.#words.set(id, this.#idAt(slot));
        Atomics.store(this.#words, 1 + slot, taken);
        Atomics.add(this.#words, 0, 1);
        return true;
      }
      // Somebody else was quicker with this slot, perhaps with this id.
      this.#settledState(slot);
      if (this.#holds(slot, id)) return false;
    }
  }

  /** Ids are hashes already. */
  #firstSlot(id: Int32Array): number {
    return (id[0] ?? 0) & (this.#slotCount - 1);
  }

  #nextSlot(slot: number): number {
    return (slot + 1) & (this.#slotCount - 1);
  }

  /** Free or taken: whoever writes an id takes some nanoseconds. */
  #settledState(slot: number): number {
    for (;;) {
      const state = Atomics.load(this.#words, 1 + slot);
      if (state !== writing) return state;
    }
  }

  #idAt(slot: number): number {
    return 1 + this.#slotCount + slot * idWords;
  }

  #holds(slot: number, id: Int32Array): boolean {
    const at = this.#idAt(slot);
    for (let word = 0; word < idWords; word++) if (this.#words[at + word] !== id[word]) return false;
    return true;
  }
}
