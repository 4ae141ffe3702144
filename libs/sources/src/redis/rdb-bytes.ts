import { HoldfastError } from '@holdfast/errors/holdfast-error';

/** proto-max-bulk-len: no command takes a longer value, so none is held. */
const maxValueBytes = 512 * 1024 * 1024;

/** Lengths of the RDB format: a number, or the mark of a string that is stored in another way. */
export type RdbLength = { readonly value: number; readonly isEncoded: boolean };

/**
 * Reads an RDB file forward. What is read between `beginRecord` and `endRecord` is kept, byte for byte. Code: repository_damaged, where
 * the file ends early or says what no such file can.
 */
export class RdbBytes {
  readonly #pieces: AsyncIterator<Uint8Array>;
  #held: Buffer = Buffer.alloc(0);
  #record: Buffer[] | null = null;
  #recordBytes = 0;

  constructor(pieces: AsyncIterable<Uint8Array>) {
    this.#pieces = pieces[Symbol.asyncIterator]();
  }

  beginRecord(): void {
    this.#record = [];
    this.#recordBytes = 0;
  }

  endRecord(): Buffer {
    const record = Buffer.concat(this.#record ?? []);
    this.#record = null;
    return record;
  }

  async take(bytes: number): Promise<Buffer> {
    if (!Number.isSafeInteger(bytes) || bytes < 0 || bytes > maxValueBytes) throw damaged(`a length of ${bytes} bytes`);
    if (this.#held.length < bytes) await this.#fill(bytes);
    const part = this.#held.subarray(0, bytes);
    this.#held = this.#held.subarray(bytes);
    if (this.#record !== null) {
      this.#record.push(part);
      this.#recordBytes += bytes;
      if (this.#recordBytes > maxValueBytes) throw damaged('a value of more than 512 MiB, which no server takes in one piece');
    }
    return part;
  }

  async byte(): Promise<number> {
    return (await this.take(1))[0] ?? 0;
  }

  /** Two bits say how it is written: in 6, 14, 32 or 64 bits; or that it is none. */
  async length(): Promise<RdbLength> {
    const first = await this.byte();
    const low = first & 0x3f;
    switch (first >> 6) {
      case 0:
        return { value: low, isEncoded: false };
      case 1:
        return { value: (low << 8) | (await this.byte()), isEncoded: false };
      case 3:
        return { value: low, isEncoded: true };
      default:
        if (first === 0x80) return { value: (await this.take(4)).readUInt32BE(), isEncoded: false };
        if (first === 0x81) return { value: Number((await this.take(8)).readBigUInt64BE()), isEncoded: false };
        throw damaged(`a length that begins with ${first}`);
    }
  }

  async count(): Promise<number> {
    const { value, isEncoded } = await this.length();
    if (isEncoded) throw damaged('a number where none can be');
    return value;
  }

  async string(): Promise<Buffer> {
    const { value, isEncoded } = await this.length();
    if (!isEncoded) return await this.take(value);
    if (value === 0) return Buffer.from(String((await this.take(1)).readInt8()));
    if (value === 1) return Buffer.from(String((await this.take(2)).readInt16LE()));
    if (value === 2) return Buffer.from(String((await this.take(4)).readInt32LE()));
    if (value !== 3) throw damaged(`a string of kind ${value}`);
    const packedBytes = await this.count();
    const bytes = await this.count();
    if (bytes > maxValueBytes) throw damaged(`a string of ${bytes} bytes`);
    return unpackLzf(await this.take(packedBytes), bytes);
  }

  async #fill(bytes: number): Promise<void> {
    const parts = [this.#held];
    for (let heldBytes = this.#held.length; heldBytes < bytes;) {
      const next = await this.#pieces.next();
      if (next.done === true) throw damaged('its end too early');
      // A copy: a piece may be its giver's again when the next one is asked for.
      parts.push(Buffer.from(next.value));
      heldBytes += next.value.length;
    }
    this.#held = Buffer.concat(parts);
  }
}

/** LibLZF: runs of literals, and references to what was written before. */
function unpackLzf(packed: Buffer, bytes: number): Buffer {
  const out = Buffer.alloc(bytes);
  let to = 0;
  for (let from = 0; from < packed.length;) {
    const control = packed[from++] ?? 0;
    if (control < 32) {
      const count = control + 1;
      if (to + count > bytes || from + count > packed.length) throw damaged('a packed string that does not fit');
      packed.copy(out, to, from, from + count);
      from += count;
      to += count;
      continue;
    }
    let count = control >> 5;
    if (count === 7) count += packed[from++] ?? 0;
    let back = to - ((control & 0x1f) << 8) - (packed[from++] ?? 0) - 1;
    count += 2;
    if (back < 0 || to + count > bytes) throw damaged('a packed string that does not fit');
    for (; count > 0; count--) out[to++] = out[back++] ?? 0;
  }
  if (to !== bytes) throw damaged('a packed string that does not fit');
  return out;
}

export function damaged(what: string): HoldfastError {
  return new HoldfastError('repository_damaged', `the RDB file has ${what}`);
}
