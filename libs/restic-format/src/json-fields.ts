import { HoldfastError } from '@holdfast/errors/holdfast-error';

import { isObjectId, type ObjectId } from './object-id.ts';
import { decodeTimestamp, type Timestamp } from './timestamp.ts';

/**
 * Reads JSON that somebody else wrote, as Go's encoding/json would: unknown fields are passed over, a missing field or null is
 * the zero value. Everything that is there has to be of its type; what is not is repository_damaged and names the field.
 */

const strictUtf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** A number of 16 or more digits may not fit a double. The same in a string only costs the slower parse. */
const longNumber = /:\d{16,}/;

const maxUint64 = 2n ** 64n - 1n;

/** `what` names the object in messages. Integers past 2^53 come as bigint. Errors: repository_damaged. */
export function parseJson(bytes: Uint8Array, what: string): unknown {
  try {
    const text = strictUtf8.decode(bytes);
    return longNumber.test(text) ? JSON.parse(text, keepExactNumber) : JSON.parse(text);
  } catch (error) {
    throw new HoldfastError('repository_damaged', `${what} is not valid JSON`, { cause: error });
  }
}

// The third argument, with the source text of a number, is younger than the compiler's types.
const keepExactNumber = (_key: string, value: unknown, ...[context]: { source?: string }[]): unknown => {
  const source = context?.source ?? '';
  return typeof value === 'number' && !Number.isSafeInteger(value) && /^\d+$/.test(source) ? BigInt(source) : value;
};

export type JsonObject = Readonly<Record<string, unknown>>;

const isJsonObject = (value: unknown): value is JsonObject => typeof value === 'object' && value !== null && !Array.isArray(value);

/** The fields of one JSON object. */
export class JsonFields {
  readonly #fields: JsonObject;
  readonly #what: string;

  /** Errors: repository_damaged when `value` is no object. */
  constructor(value: unknown, what: string) {
    if (!isJsonObject(value)) throw new HoldfastError('repository_damaged', `${what} is not a JSON object`);
    this.#fields = value;
    this.#what = what;
  }

  has(name: string): boolean {
    return this.#value(name) !== undefined;
  }

  string(name: string): string {
    const value = this.#value(name) ?? '';
    if (typeof value !== 'string') throw this.damaged(name, 'a string');
    return value.isWellFormed() ? value : value.toWellFormed();
  }

  boolean(name: string): boolean {
    const value = this.#value(name) ?? false;
    if (typeof value !== 'boolean') throw this.damaged(name, 'true or false');
    return value;
  }

  /** An integer from 0 to `max`, which is at most 2^53 − 1. */
  uint(name: string, max: number = Number.MAX_SAFE_INTEGER): number {
    const value = this.#value(name) ?? 0;
    if (typeof value !== 'number' || !Number.isInteger(value) || value < 0 || value > max) {
      throw this.damaged(name, `an integer from 0 to ${max}`);
    }
    return value;
  }

  /** An integer from 0 to 2^64 − 1. */
  bigUint(name: string): bigint {
    const value = this.#value(name) ?? 0;
    const exact = typeof value === 'number' && Number.isSafeInteger(value) ? BigInt(value) : value;
    if (typeof exact !== 'bigint' || exact < 0n || exact > maxUint64) throw this.damaged(name, 'an integer from 0 to 2^64 - 1');
    return exact;
  }

  timestamp(name: string): Timestamp {
    const time = decodeTimestamp(this.string(name));
    if (!time) throw this.damaged(name, 'a time');
    return time;
  }

  id(name: string): ObjectId {
    const value = this.#value(name);
    if (!isObjectId(value)) throw this.damaged(name, 'an object id');
    return value;
  }

  optionalId(name: string): ObjectId | undefined {
    return this.has(name) ? this.id(name) : undefined;
  }

  bytes(name: string): Uint8Array {
    return Buffer.from(this.string(name), 'base64');
  }

  array(name: string): readonly unknown[] {
    const value = this.#value(name) ?? [];
    if (!Array.isArray(value)) throw this.damaged(name, 'a list');
    return value;
  }

  ids(name: string): readonly ObjectId[] {
    const values = this.array(name);
    if (!values.every(isObjectId)) throw this.damaged(name, 'a list of object ids');
    return values;
  }

  strings(name: string): readonly string[] {
    const values = this.array(name);
    if (!values.every((value) => typeof value === 'string')) throw this.damaged(name, 'a list of strings');
    return values;
  }

  object(name: string): JsonObject {
    const value = this.#value(name) ?? {};
    if (!isJsonObject(value)) throw this.damaged(name, 'an object');
    return value;
  }

  /** The error to throw for a field that is not `expected`. */
  damaged(name: string, expected: string): HoldfastError {
    return new HoldfastError('repository_damaged', `${this.#what}: ${name} is not ${expected}`);
  }

  #value(name: string): unknown {
    return Object.hasOwn(this.#fields, name) ? (this.#fields[name] ?? undefined) : undefined;
  }
}
