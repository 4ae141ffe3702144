import { HoldfastError } from '@holdfast/errors/holdfast-error';
import {
  chosenAddress,
  chosenCountAddress,
  instantiateRowKernels,
  longRowBytes,
  stoppedAtAddress,
  windowAddress,
} from './kernels/row-kernels.ts';

/**
 * Messages of PostgreSQL's protocol as they come from the socket: a type byte, a length of four bytes that counts itself but not the
 * type, and the content. What COPY TO STDOUT sends is one message `d` a row: those are joined here, by a loop in WebAssembly, and only the
 * rest is given to `pg`. Source: "Message Formats" in PostgreSQL's manual.
 *
 * The memory holds what does not make a whole row yet, right behind it the place that the socket reads into, then two places for rows: one
 * is filled while the other one is looked at.
 */
const copyData = 0x64;
const headerBytes = 5;
/** Of a length, itself. */
const minLength = 4;
/** One read: a larger one costs the processor's cache more than it saves calls. */
const roomBytes = 256 * 1024;
const maxRestBytes = headerBytes + longRowBytes;
const roomAddress = windowAddress + 64 * 1024 * Math.ceil(maxRestBytes / (64 * 1024));
/** What one read can bring is always taken, so beyond this nothing more is to be read until rows are taken away. */
const enoughBytes = 512 * 1024;
const rowsBytes = enoughBytes + roomBytes + maxRestBytes;
const firstRowsAddress = roomAddress + roomBytes;

export interface CopyFramesOptions {
  /** Bytes that are no CopyData, as they came and the receiver's; a message may come in pieces. */
  readonly onOther: (bytes: Buffer) => void;
}

/** Rows that lie one behind the other. */
export interface CopiedRows {
  /** Valid until the next call of takeRows. */
  readonly bytes: Uint8Array;
  /** Where in `bytes` rows end that a keyed hash of theirs has chosen: see row-kernels.as.ts. */
  readonly chosenEnds: readonly number[];
}

/** Must see every byte of a connection from the border of a message on. */
export class CopyFrames {
  /** What is read next goes here, from the first byte on. */
  readonly room: Uint8Array<ArrayBuffer>;
  readonly #options: CopyFramesOptions;
  readonly #kernels;
  readonly #memory: Uint8Array<ArrayBuffer>;
  readonly #view: DataView;
  #restBytes = 0;
  /** Of a message that is no row, what is still to come. */
  #otherLeft = 0;
  #rowsAddress = firstRowsAddress;
  #rowsEnd = firstRowsAddress;
  #chosenEnds: number[] = [];
  #areWanted = false;

  constructor(options: CopyFramesOptions) {
    this.#options = options;
    const { kernels, memory } = instantiateRowKernels(firstRowsAddress + 2 * rowsBytes - windowAddress);
    this.#kernels = kernels;
    this.#memory = memory;
    this.#view = new DataView(memory.buffer);
    this.room = memory.subarray(roomAddress, roomAddress + roomBytes);
  }

  /** Rows are kept from now on. `key` says which ends are chosen. */
  beginRows(key: bigint): void {
    this.dropRows();
    this.#areWanted = true;
    this.#kernels.beginRows(key);
  }

  /** Rows that nobody has taken are dropped, and those that come. */
  dropRows(): void {
    this.#areWanted = false;
    this.#rowsEnd = this.#rowsAddress;
    this.#chosenEnds = [];
  }

  /** True when nothing is to be read before rows are taken. */
  get isFull(): boolean {
    return this.#rowsEnd - this.#rowsAddress >= enoughBytes;
  }

  /** Takes what has been read to the first `count` bytes of `room`. Code: postgresql_stream_damaged, for what is no message. */
  push(count: number): void {
    let at = roomAddress - this.#restBytes;
    const end = roomAddress + count;
    for (;;) {
      if (this.#otherLeft === 0) at = this.#join(at, end);
      if (this.#otherLeft === 0 && (end - at < headerBytes || this.#memory[at] === copyData)) break;
      at = this.#passOn(at, end);
      if (this.#otherLeft > 0) break;
    }
    if (end - at >= headerBytes) this.#lengthAt(at);
    this.#memory.copyWithin(roomAddress - (end - at), at, end);
    this.#restBytes = end - at;
  }

  /** What has been joined since the last call; null when there is nothing. */
  takeRows(): CopiedRows | null {
    if (this.#rowsEnd === this.#rowsAddress) return null;
    const bytes = this.#memory.subarray(this.#rowsAddress, this.#rowsEnd);
    const chosenEnds = this.#chosenEnds;
    this.#rowsAddress = this.#rowsAddress === firstRowsAddress ? firstRowsAddress + rowsBytes : firstRowsAddress;
    this.#rowsEnd = this.#rowsAddress;
    this.#chosenEnds = [];
    return { bytes, chosenEnds };
  }

  /** Joins rows, as far as they are there; returns where what is no row begins. */
  #join(from: number, end: number): number {
    const rowsEnd = this.#kernels.takeRows(from, end, this.#rowsEnd);
    if (this.#areWanted) this.#note(rowsEnd);
    return this.#view.getUint32(stoppedAtAddress, true);
  }

  #note(rowsEnd: number): void {
    this.#rowsEnd = rowsEnd;
    const count = this.#view.getUint32(chosenCountAddress, true);
    for (let nth = 0; nth < count; nth++) {
      this.#chosenEnds.push(this.#view.getUint32(chosenAddress + nth * 4, true) - this.#rowsAddress);
    }
  }

  /** Hands messages on that are no rows, as far as they are there; returns where they end. */
  #passOn(from: number, end: number): number {
    let at = from;
    for (;;) {
      const taken = Math.min(this.#otherLeft, end - at);
      this.#otherLeft -= taken;
      at += taken;
      if (this.#otherLeft > 0 || end - at < headerBytes || this.#memory[at] === copyData) break;
      this.#otherLeft = this.#lengthAt(at) + 1;
    }
    if (at > from) this.#options.onOther(Buffer.from(this.#memory.subarray(from, at)));
    return at;
  }

  #lengthAt(at: number): number {
    const length = this.#view.getUint32(at + 1);
    if (length >= minLength) return length;
    throw new HoldfastError('postgresql_stream_damaged', 'the server sent what is no message of its protocol');
  }
}
