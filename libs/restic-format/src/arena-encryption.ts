import { keystreamAddress, keystreamBytes, type Arena } from './arena.ts';
import { createBlockMode } from './block-mode.ts';
import { createCounterMode } from './counter-mode.ts';

/**
 * AES-256 in counter mode of pieces of an arena, whose 16 bytes of IV are at `at` and whose content is behind them. A call for each costs
 * more than a small piece does: so the counters of many small ones lie one behind the other, are encrypted together, and each piece
 * is masked with its own. Encrypting and decrypting is the same.
 */
export interface ArenaEncryption {
  /** Now. */
  apply(at: number, sizeBytes: number): void;
  /** Now, or with the next flush. What comes of the content is put `shift` bytes behind it: 0 leaves it in its place. */
  add(at: number, sizeBytes: number, shift: number): void;
  flush(): void;
}

const ivBytes = 16;
/** Up to here a call of its own costs more than counters and masking do. */
const maxMaskedBytes = 16 * 1024;

/** `options.usePublicCall`: for the test of it. */
export function createArenaEncryption({ kernels, memory }: Arena, key: Uint8Array, options: { usePublicCall?: boolean }): ArenaEncryption {
  const counterMode = createCounterMode(key, options);
  const blockMode = createBlockMode(key, options);
  const waiting: { at: number; sizeBytes: number; keyAt: number; shift: number }[] = [];
  let end = keystreamAddress;
  const flush = (): void => {
    if (end === keystreamAddress) return;
    blockMode.apply(memory.subarray(keystreamAddress, end));
    for (const { at, sizeBytes, keyAt, shift } of waiting) kernels.mask(at, keyAt, sizeBytes, at + shift);
    waiting.length = 0;
    end = keystreamAddress;
  };
  const add = (at: number, sizeBytes: number, shift: number): void => {
    const start = at + ivBytes;
    if (sizeBytes > maxMaskedBytes) {
      const to = start + shift;
      counterMode.apply(memory.subarray(at, start), memory.subarray(start, start + sizeBytes), memory.subarray(to, to + sizeBytes));
      return;
    }
    const blockCount = (sizeBytes + 15) >>> 4;
    if (end + blockCount * 16 > keystreamAddress + keystreamBytes) flush();
    kernels.counterBlocks(at, end, blockCount);
    waiting.push({ at: start, sizeBytes, keyAt: end, shift });
    end += blockCount * 16;
  };
  return {
    apply(at, sizeBytes) {
      add(at, sizeBytes, 0);
      flush();
    },
    add,
    flush,
  };
}
