import { isHoldfastError } from '@holdfast/errors/holdfast-error';
import type { S3Body } from './s3-body.ts';
import { isNotImplemented } from './s3-error.ts';

/**
 * Puts that never replace an object. `If-None-Match: *` makes a put do so at Amazon, MinIO and R2; other servers refuse the header (501:
 * Swift), and some take it and pass over it (Ceph 16.2). Which of them this one is, the first small object shows: it is put once more with the header,
 * which replaces it by itself at worst. As long as that is not known, and for good at servers that do not heed the header, each put
 * looks first whether its name is free, unless that is the hash of its bytes; of two puts at the same moment both may win then.
 */
export class ExclusivePut {
  #server: 'unknown' | 'being asked' | 'heeds it' | 'does not' = 'unknown';
  readonly #calls: ExclusivePutCalls;

  constructor(calls: ExclusivePutCalls) {
    this.#calls = calls;
  }

  async put({ name, body, isNamedByHash }: ObjectToPut, signal: AbortSignal | undefined): Promise<void> {
    if (this.#server === 'heeds it') {
      await this.#calls.write(name, body, true, signal);
      return;
    }
    // What has the name already has these bytes, or damaged ones: replacing it loses nothing.
    if (!isNamedByHash || this.#server !== 'does not') await this.#calls.assertFree(name, signal);
    if (this.#server === 'unknown' && body.lengthBytes <= largestProofBytes) await this.#putAndAsk(name, body, signal);
    else await this.#calls.write(name, body, false, signal);
  }

  async #putAndAsk(name: string, body: S3Body, signal: AbortSignal | undefined): Promise<void> {
    this.#server = 'being asked';
    try {
      await this.#calls.write(name, body, true, signal);
    } catch (error) {
      this.#server = isNotImplemented(error) ? 'does not' : 'unknown';
      if (this.#server === 'unknown') throw error;
      await this.#calls.write(name, body, false, signal);
      return;
    }
    try {
      await this.#calls.write(name, body, true, signal);
      this.#server = 'does not';
    } catch (error) {
      // The object is there; that the question found no answer is no failure of its put.
      this.#server = isHoldfastError(this.#calls.translated(name, error), 'storage_object_exists') ? 'heeds it' : 'unknown';
    }
  }
}

export interface ObjectToPut {
  readonly name: string;
  readonly body: S3Body;
  /** Whether the name can be that of no other bytes. */
  readonly isNamedByHash: boolean;
}

export interface ExclusivePutCalls {
  /** Throws storage_object_exists when the name is taken. */
  assertFree(name: string, signal: AbortSignal | undefined): Promise<void>;
  /** Throws what the SDK throws. */
  write(name: string, body: S3Body, isConditional: boolean, signal: AbortSignal | undefined): Promise<void>;
  translated(name: string, error: unknown): unknown;
}

/** Locks and keys, which are written before anything else, have some hundred bytes. */
const largestProofBytes = 64 * 1024;
