/**
 * Messages of PostgreSQL's protocol as they come from the socket: a type byte, a length of four bytes that counts itself but not the
 * type, and the content. What COPY TO STDOUT sends is one message `d` a row; taking those out here, and giving only the rest to `pg`,
 * spares an object and two calls a row. Source: "Message Formats" in PostgreSQL's manual.
 */
const copyData = 0x64;
const headerBytes = 5;
/** A call of copyWithin costs more than a loop over so few bytes. */
const shortBytes = 48;

export interface CopyFramesOptions {
  /** Bytes that are no CopyData, as they came; a message may come in pieces. */
  readonly onOther: (bytes: Buffer) => void;
  /** The contents of the CopyData messages of one push, joined: at most one call a push, and the bytes are the receiver's. */
  readonly onData: (bytes: Buffer) => void;
}

/** Must see every byte of a connection from the border of a message on. */
export class CopyFrames {
  readonly #options: CopyFramesOptions;
  readonly #header = Buffer.alloc(headerBytes);
  #headerFilled = 0;
  /** Of the message at hand, what is still to come. */
  #left = 0;
  #isData = false;

  constructor(options: CopyFramesOptions) {
    this.#options = options;
  }

  /** `chunk` is the receiver's from now on: contents are moved together within it. */
  push(chunk: Buffer): void {
    const { onOther, onData } = this.#options;
    let at = 0;
    let end = 0;
    while (at < chunk.length) {
      if (this.#left === 0) {
        at = this.#readHeader(chunk, at);
        if (this.#headerFilled < headerBytes) break;
        this.#headerFilled = 0;
        this.#isData = this.#header[0] === copyData;
        this.#left = this.#header.readUInt32BE(1) - (headerBytes - 1);
        if (!this.#isData) onOther(Buffer.from(this.#header));
      }
      const taken = Math.min(this.#left, chunk.length - at);
      if (this.#isData) end = moveDown(chunk, end, at, taken);
      else if (taken > 0) onOther(chunk.subarray(at, at + taken));
      this.#left -= taken;
      at += taken;
    }
    if (end > 0) onData(chunk.subarray(0, end));
  }

  #readHeader(chunk: Buffer, from: number): number {
    const taken = Math.min(headerBytes - this.#headerFilled, chunk.length - from);
    for (let index = 0; index < taken; index++) this.#header[this.#headerFilled + index] = chunk[from + index] ?? 0;
    this.#headerFilled += taken;
    return from + taken;
  }
}

/** Returns where the moved bytes end. */
function moveDown(chunk: Buffer, to: number, from: number, length: number): number {
  if (length > shortBytes) chunk.copyWithin(to, from, from + length);
  else for (let index = 0; index < length; index++) chunk[to + index] = chunk[from + index] ?? 0;
  return to + length;
}
