import { bytesOfName, nameOfBytes } from '@holdfast/restic-format/file-name';

/** Numbers for names: a name that is in many trees is held once, and looked at once. */
export class NameTable {
  count = 0;
  #text = Buffer.allocUnsafe(firstTextBytes);
  #textBytes = 0;
  /** Where each name ends. */
  #ends = new Uint32Array(firstCapacity);
  /** Number + 1; 0 is free. */
  #slots = new Uint32Array(firstCapacity * 2);

  get heldBytes(): number {
    return this.#text.length + this.#ends.byteLength + this.#slots.byteLength;
  }

  numberOfName(name: string): number {
    const bytes = bytesOfName(name);
    return this.numberOf(bytes, 0, bytes.length);
  }

  /** Of the name that stands in `bytes` from `start` up to `end`, as file-name.ts has it. */
  numberOf(bytes: Uint8Array, start: number, end: number): number {
    const mask = this.#slots.length - 1;
    for (let slot = hashOfBytes(bytes, start, end) & mask; ; slot = (slot + 1) & mask) {
      const number = (this.#slots[slot] ?? 0) - 1;
      if (number === -1) return this.#add(bytes, start, end, slot);
      if (this.#isName(number, bytes, start, end)) return number;
    }
  }

  nameOf(number: number): string {
    return nameOfBytes(this.#text.subarray(this.#startOf(number), this.#ends[number]));
  }

  #add(bytes: Uint8Array, start: number, end: number, slot: number): number {
    const number = this.count++;
    this.#reserve(end - start);
    this.#text.set(bytes.subarray(start, end), this.#textBytes);
    this.#textBytes += end - start;
    this.#ends[number] = this.#textBytes;
    this.#slots[slot] = number + 1;
    if (this.count > this.#slots.length * maxLoad) this.#growSlots();
    return number;
  }

  #reserve(textBytes: number): void {
    if (this.#textBytes + textBytes > this.#text.length) {
      const grown = Buffer.allocUnsafe(Math.max(this.#text.length * 2, this.#textBytes + textBytes));
      this.#text.copy(grown, 0, 0, this.#textBytes);
      this.#text = grown;
    }
    if (this.count <= this.#ends.length) return;
    const grown = new Uint32Array(this.#ends.length * 2);
    grown.set(this.#ends);
    this.#ends = grown;
  }

  #growSlots(): void {
    const slots = new Uint32Array(this.#slots.length * 2);
    const mask = slots.length - 1;
    for (let number = 0; number < this.count; number++) {
      let slot = hashOfBytes(this.#text, this.#startOf(number), this.#ends[number] ?? 0) & mask;
      while (slots[slot] !== 0) slot = (slot + 1) & mask;
      slots[slot] = number + 1;
    }
    this.#slots = slots;
  }

  #isName(number: number, bytes: Uint8Array, start: number, end: number): boolean {
    const at = this.#startOf(number);
    if ((this.#ends[number] ?? 0) - at !== end - start) return false;
    for (let nth = 0; nth < end - start; nth++) if (this.#text[at + nth] !== bytes[start + nth]) return false;
    return true;
  }

  #startOf(number: number): number {
    return number === 0 ? 0 : (this.#ends[number - 1] ?? 0);
  }
}

/** A repository of a few files takes a few KiB. Both are powers of two. */
const firstCapacity = 256;
const firstTextBytes = 4096;
/** Beyond this share of used slots probing gets long. */
const maxLoad = 0.6;

/** FNV-1a, with its bits mixed once more: names that differ in their last digits alone are spread. */
function hashOfBytes(bytes: Uint8Array, start: number, end: number): number {
  let hash = 0x811c_9dc5;
  for (let at = start; at < end; at++) hash = Math.imul(hash ^ (bytes[at] ?? 0), 0x0100_0193);
  return (hash ^ (hash >>> 15)) >>> 0;
}
