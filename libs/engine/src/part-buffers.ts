/**
 * Memory that parts of packs are read into, shared with the threads that unpack them: nothing is handed over, and it is used again. New
 * memory for each part would have to be mapped page by page, and lie around until it is collected.
 */
export class PartBuffers {
  readonly #sizeBytes: number;
  readonly #free: Uint8Array<SharedArrayBuffer>[] = [];

  /** There are never more of them than were in use at once. */
  constructor(sizeBytes: number) {
    this.#sizeBytes = sizeBytes;
  }

  /** With the bytes of the last part in it. A part that is longer has memory of its own. */
  take(lengthBytes: number): Uint8Array<SharedArrayBuffer> {
    if (lengthBytes > this.#sizeBytes) return new Uint8Array(new SharedArrayBuffer(lengthBytes));
    const whole = this.#free.pop() ?? new Uint8Array(new SharedArrayBuffer(this.#sizeBytes));
    return whole.subarray(0, lengthBytes);
  }

  /** When nobody writes into it or reads it any more. */
  giveBack({ buffer }: Uint8Array<SharedArrayBuffer>): void {
    if (buffer.byteLength === this.#sizeBytes) this.#free.push(new Uint8Array(buffer));
  }
}
