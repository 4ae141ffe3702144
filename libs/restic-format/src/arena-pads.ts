import { randomBytes } from 'node:crypto';

import { ivAddress, padAddress, readPadAddress, sealBatchCount, type Arena } from './arena.ts';
import { createBlockMode } from './block-mode.ts';
import { overheadBytes, type MasterKeys } from './cipher.ts';
import type { RandomBytes } from './random-bytes.ts';

/**
 * IVs and their pads: the IV encrypted under k, which is added to a MAC. Many at a time, since a draw, or a call of AES, costs more than
 * a small blob does.
 */
export interface ArenaPads {
  /** How many can be drawn before the pads of those drawn earlier are written over; draws new ones when there are none. At least one. */
  drawableCount(): number;
  /** Puts a new IV to `at` and returns where its pad is. */
  draw(at: number): number;
  /** The pads of sealed pieces (at, sealedBytes), up to sealBatchCount of them, one behind the other from readPadAddress on. */
  gather(pieces: Uint32Array, from: number, to: number): void;
  /** The pad of one sealed piece, at readPadAddress. */
  gatherOne(at: number): void;
}

export const padBytes = 16;
const batchBytes = sealBatchCount * padBytes;

export interface PadOptions {
  /** It has to be unpredictable: an IV that comes twice gives its plaintexts away. */
  readonly random?: RandomBytes;
  readonly usePublicCall?: boolean;
}

export function createArenaPads({ kernels, memory }: Arena, keys: MasterKeys, options: PadOptions): ArenaPads {
  const { random = randomBytes } = options;
  const mode = createBlockMode(Uint8Array.from(keys.macK), options);
  let next = sealBatchCount;
  const drawableCount = (): number => {
    if (next === sealBatchCount) {
      memory.set(random(batchBytes), ivAddress);
      memory.copyWithin(padAddress, ivAddress, ivAddress + batchBytes);
      mode.apply(memory.subarray(padAddress, padAddress + batchBytes));
      next = 0;
    }
    return sealBatchCount - next;
  };
  return {
    drawableCount,
    draw(at) {
      drawableCount();
      const offset = next++ * padBytes;
      kernels.copyBlock(ivAddress + offset, at);
      return padAddress + offset;
    },
    gather(pieces, from, to) {
      for (let nth = from; nth < to; nth++) {
        const isLongEnough = (pieces[nth * 2 + 1] ?? 0) >= overheadBytes;
        if (isLongEnough) kernels.copyBlock(pieces[nth * 2] ?? 0, readPadAddress + (nth - from) * padBytes);
      }
      mode.apply(memory.subarray(readPadAddress, readPadAddress + (to - from) * padBytes));
    },
    gatherOne(at) {
      kernels.copyBlock(at, readPadAddress);
      mode.apply(memory.subarray(readPadAddress, readPadAddress + padBytes));
    },
  };
}
