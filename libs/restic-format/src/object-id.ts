import { hash } from 'node:crypto';

/**
 * The SHA-256 of an object, as 64 lower-case hexadecimal digits. A stored file is named by the hash of its stored bytes,
 * a blob by the hash of its plaintext.
 */
export type ObjectId = string;

/** An id as it stands in a pack's header. */
export const objectIdBytes = 32;

const pattern = /^[0-9a-f]{64}$/;

/** The id of `bytes`: its SHA-256. */
export function hashOf(bytes: Uint8Array): ObjectId {
  return hash('sha256', bytes, 'hex');
}

/** True for exactly 64 lower-case hexadecimal digits: upper case would be a second name for the same object. */
export function isObjectId(text: unknown): text is ObjectId {
  return typeof text === 'string' && pattern.test(text);
}
