import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { invariant } from '@holdfast/errors/invariant';

import { createArenaEncryption } from './arena-encryption.ts';
import { createArenaMac } from './arena-mac.ts';
import { createArenaPads, padBytes, type PadOptions } from './arena-pads.ts';
import { readPadAddress, sealBatchCount, type Arena } from './arena.ts';
import { overheadBytes, type MasterKeys } from './cipher.ts';
import { macPadAddress, macTagAddress } from './kernels/kernels.ts';

/**
 * Seals and opens where the bytes lie, one or many at a time; the results are those of Cipher, bit for bit. Many at a time is cheaper
 * for small ones: their counters are encrypted together, in one call. `pieces` are pairs of numbers, of which the first `count` count.
 */
export interface ArenaCipher {
  /** Seals the `plainBytes` at `at + 16`: the sealed bytes begin at `at` and reach 16 bytes further than the plain ones did. Returns their count. */
  seal(at: number, plainBytes: number): number;
  /** Seals pieces of (at, plainBytes), each as `seal` does. */
  sealMany(pieces: Uint32Array, count: number): void;
  /**
   * Opens the `sealedBytes` at `at`: the plaintext is then at `at + 16`; returns its length. Errors: repository_damaged, with
   * nothing decrypted, when they were not sealed under these keys.
   */
  open(at: number, sealedBytes: number): number;
  /**
   * Opens pieces of (at, sealedBytes), each as `open` does, and writes to `results` 1 for those that are open and 0 for those that are
   * too short or were not sealed under these keys; they are left as they are. Returns how many are open. With `shift` the plaintexts
   * are put so many bytes further on, and all that is sealed stays as it is.
   */
  openMany(pieces: Uint32Array, count: number, results: Uint8Array, shift?: number): number;
}

const ivBytes = 16;

/** `options.usePublicCall`: for the test of it. */
export function createArenaCipher(arena: Arena, keys: MasterKeys, options: PadOptions = {}): ArenaCipher {
  const { kernels, memory } = arena;
  const pads = createArenaPads(arena, keys, options);
  const mac = createArenaMac(arena, keys.macR, options);
  const encryption = createArenaEncryption(arena, Uint8Array.from(keys.encrypt), options);

  const finish = (padAt: number, at: number, plainBytes: number): void => {
    kernels.copyBlock(padAt, macPadAddress);
    mac.compute(at + ivBytes, plainBytes);
    kernels.copyBlock(macTagAddress, at + ivBytes + plainBytes);
  };
  const isSealed = (padAt: number, at: number, plainBytes: number): boolean => {
    kernels.copyBlock(padAt, macPadAddress);
    mac.compute(at + ivBytes, plainBytes);
    return kernels.isSameBlock(macTagAddress, at + ivBytes + plainBytes) === 1;
  };

  return {
    seal(at, plainBytes) {
      assertInside(memory, at, plainBytes + overheadBytes);
      const padAt = pads.draw(at);
      encryption.apply(at, plainBytes);
      finish(padAt, at, plainBytes);
      return plainBytes + overheadBytes;
    },
    sealMany(pieces, count) {
      assertPieces(memory, pieces, count, overheadBytes);
      const padsAt = new Uint32Array(Math.min(count, sealBatchCount));
      for (let from = 0, to = 0; from < count; from = to) {
        to = Math.min(count, from + pads.drawableCount());
        for (let nth = from; nth < to; nth++) {
          const at = pieces[nth * 2] ?? 0;
          padsAt[nth - from] = pads.draw(at);
          encryption.add(at, pieces[nth * 2 + 1] ?? 0, 0);
        }
        encryption.flush();
        for (let nth = from; nth < to; nth++) finish(padsAt[nth - from] ?? 0, pieces[nth * 2] ?? 0, pieces[nth * 2 + 1] ?? 0);
      }
    },
    open(at, sealedBytes) {
      const plainBytes = sealedBytes - overheadBytes;
      if (plainBytes < 0) throw new HoldfastError('repository_damaged', `sealed bytes are too short: ${sealedBytes}`);
      assertInside(memory, at, sealedBytes);
      pads.gatherOne(at);
      if (!isSealed(readPadAddress, at, plainBytes)) throw new HoldfastError('repository_damaged', 'sealed bytes do not match their MAC');
      encryption.apply(at, plainBytes);
      return plainBytes;
    },
    openMany(pieces, count, results, shift = 0) {
      assertPieces(memory, pieces, count, shift);
      invariant(results.length >= count, 'there is no room for all results');
      let openCount = 0;
      for (let from = 0; from < count; from += sealBatchCount) {
        const to = Math.min(count, from + sealBatchCount);
        pads.gather(pieces, from, to);
        for (let nth = from; nth < to; nth++) {
          const [at, plainBytes] = [pieces[nth * 2] ?? 0, (pieces[nth * 2 + 1] ?? 0) - overheadBytes];
          const isOpen = plainBytes >= 0 && isSealed(readPadAddress + (nth - from) * padBytes, at, plainBytes);
          results[nth] = isOpen ? 1 : 0;
          if (!isOpen) continue;
          openCount++;
          encryption.add(at, plainBytes, shift);
        }
        encryption.flush();
      }
      return openCount;
    },
  };
}

/** Before anything is done: some of the pieces would be sealed, and others not. */
function assertPieces(memory: Uint8Array, pieces: Uint32Array, count: number, extraBytes: number): void {
  invariant(pieces.length >= count * 2, 'there are other pieces than were told');
  for (let nth = 0; nth < count; nth++) assertInside(memory, pieces[nth * 2] ?? 0, (pieces[nth * 2 + 1] ?? 0) + extraBytes);
}

/** Native code believes what it is told. */
function assertInside(memory: Uint8Array, at: number, sizeBytes: number): void {
  invariant(at >= 0 && at + sizeBytes <= memory.length, 'a piece to seal or open is not in the memory');
}
