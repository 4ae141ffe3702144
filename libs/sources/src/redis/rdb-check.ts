import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { crc64, crc64Bytes, crc64Start, type Crc64 } from './crc64.ts';

/** `REDIS0011`, or `VALKEY080` since Valkey 9; then records; then the opcode 255 and the CRC-64 of all before. From: src/rdb.c of Redis. */
const headPattern = /^(?:REDIS(\d{4})|VALKEY(\d{3}))$/u;
const headBytes = 9;
const endOpcode = 0xff;
/** The opcode and the sum. */
const tailBytes = 9;
/** Dumps of older versions end without a sum; no server that is kept up writes them. */
const minVersion = 5;

export interface CheckedRdb {
  readonly version: number;
  readonly bytes: number;
  /** `absent` where the server was told to make none: `rdbchecksum no`. */
  readonly checksum: 'verified' | 'absent';
}

/** Sees an RDB file go by and says at its end whether it was whole. Code: redis_stream_damaged. */
export class RdbCheck {
  readonly #place: string;
  #sum: Crc64 = crc64Start;
  #bytes = 0;
  #head: Buffer = Buffer.alloc(0);
  #tail: Buffer = Buffer.alloc(0);

  constructor(place: string) {
    this.#place = place;
  }

  update(piece: Uint8Array): void {
    this.#bytes += piece.length;
    if (this.#head.length < headBytes) {
      this.#head = Buffer.concat([this.#head, piece.subarray(0, headBytes - this.#head.length)]);
      if (this.#head.length === headBytes) this.#version();
    }
    // The sum is of all but itself, so the end is held back until more follows.
    const joined = Buffer.concat([this.#tail, piece.subarray(0, tailBytes)]);
    if (piece.length < tailBytes) {
      this.#hold(joined);
      return;
    }
    this.#sum = crc64(this.#sum, this.#tail);
    this.#tail = Buffer.alloc(0);
    this.#hold(piece);
  }

  end(): CheckedRdb {
    if (this.#bytes < headBytes + tailBytes) throw this.#damaged(`it has only ${this.#bytes} bytes`);
    const version = this.#version();
    if (this.#tail[0] !== endOpcode) throw this.#damaged('its end is missing');
    const stored = this.#tail.subarray(1);
    const sum = crc64Bytes(crc64(this.#sum, this.#tail.subarray(0, 1)));
    const isAbsent = stored.every((byte) => byte === 0);
    if (!isAbsent && !stored.equals(sum)) throw this.#damaged('its checksum does not fit');
    return { version, bytes: this.#bytes, checksum: isAbsent ? 'absent' : 'verified' };
  }

  #hold(bytes: Uint8Array): void {
    const border = Math.max(0, bytes.length - tailBytes);
    this.#sum = crc64(this.#sum, bytes.subarray(0, border));
    // A copy: the piece is its giver's.
    this.#tail = Buffer.from(bytes.subarray(border));
  }

  #version(): number {
    const version = rdbVersion(this.#head);
    if (version === null) throw this.#damaged('it does not begin as an RDB file does');
    return version;
  }

  #damaged(what: string): HoldfastError {
    return new HoldfastError('redis_stream_damaged', `the RDB file of ${this.#place} is not whole: ${what}`);
  }
}

/** By its first nine bytes; null when they are of no RDB file that can be checked. */
export function rdbVersion(head: Uint8Array): number | null {
  const match = headPattern.exec(Buffer.from(head.subarray(0, headBytes)).toString('latin1'));
  const version = Number(match?.[1] ?? match?.[2] ?? 0);
  return version >= minVersion ? version : null;
}
