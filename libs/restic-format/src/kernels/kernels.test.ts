import { createCipheriv, randomBytes } from 'node:crypto';

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';

import { instantiateKernels, macKeyAddress, macPadAddress, macPieceBytes, macTagAddress, windowAddress } from './kernels.ts';

const hex = (text: string): Uint8Array => Buffer.from(text.replaceAll(' ', ''), 'hex');

/** The tag of `message`, handed over in whole blocks of `stepBytes`. */
function macOf(r: Uint8Array, s: Uint8Array, message: Uint8Array, stepBytes = macPieceBytes): string {
  const { kernels, memory } = instantiateKernels(Math.max(stepBytes, 16));
  memory.set(r, macKeyAddress);
  kernels.macSetKey();
  memory.set(s, macPadAddress);
  kernels.macBegin();
  const wholeBytes = message.length & ~15;
  for (let at = 0; at < wholeBytes; at += stepBytes) {
    const step = message.subarray(at, Math.min(at + stepBytes, wholeBytes));
    memory.set(step, windowAddress);
    kernels.macUpdate(windowAddress, step.length);
  }
  memory.set(message.subarray(wholeBytes), windowAddress);
  kernels.macEnd(windowAddress, message.length - wholeBytes);
  return Buffer.from(memory.subarray(macTagAddress, macTagAddress + 16)).toString('hex');
}

/** Poly1305 as its definition says it, in big integers. */
function referenceMacOf(r: Uint8Array, s: Uint8Array, message: Uint8Array): string {
  const integer = (bytes: Uint8Array): bigint => BigInt(`0x${Buffer.from(bytes.toReversed()).toString('hex') || '0'}`);
  const prime = (1n << 130n) - 5n;
  const clamped = integer(r) & 0x0ffffffc0ffffffc0ffffffc0fffffffn;
  let sum = 0n;
  for (let at = 0; at < message.length; at += 16) {
    const block = message.subarray(at, at + 16);
    sum = ((sum + integer(block) + (1n << BigInt(8 * block.length))) * clamped) % prime;
  }
  const tag = (sum + integer(s)) & ((1n << 128n) - 1n);
  return Buffer.from(hex(tag.toString(16).padStart(32, '0')).toReversed()).toString('hex');
}

describe('Poly1305', () => {
  const zero = '00000000000000000000000000000000';
  const full = 'ffffffffffffffffffffffffffffffff';
  const two = '02000000000000000000000000000000';
  const r12 = '01000000000000000400000000000000';

  // RFC 8439: section 2.5.2, and the corner cases 7 to 11 of appendix A.3.
  test.each([
    [
      '85d6be7857556d337f4452fe42d506a8',
      '0103808afb0db2fd4abff6af4149f51b',
      Buffer.from('Cryptographic Forum Research Group').toString('hex'),
      'a8061dc1305136c6c22b8baf0c0127a9',
    ],
    [two, zero, full, '03000000000000000000000000000000'],
    [two, full, two, '03000000000000000000000000000000'],
    ['01000000000000000000000000000000', zero, `${full}f0${full.slice(2)}11${zero.slice(2)}`, '05000000000000000000000000000000'],
    ['01000000000000000000000000000000', zero, `${full}fb${'fe'.repeat(15)}${'01'.repeat(16)}`, zero],
    [two, zero, `fd${full.slice(2)}`, `fa${full.slice(2)}`],
    [
      r12,
      zero,
      `e33594d7505e43b90000000000000000 3394d7505e4379cd0100000000000000 ${zero} 01${zero.slice(2)}`,
      '14000000000000005500000000000000',
    ],
    [r12, zero, `e33594d7505e43b90000000000000000 3394d7505e4379cd0100000000000000 ${zero}`, `13${zero.slice(2)}`],
  ])('vector of RFC 8439: r %s, s %s', (r, s, message, tag) => {
    expect(macOf(hex(r), hex(s), hex(message))).toBe(tag);
  });

  // Appendix B of "The Poly1305-AES message-authentication code": here s is the nonce under AES with key k.
  test.each([
    [
      'f3f6',
      '851fc40c3467ac0be05cc20404f3f700',
      'ec074c835580741701425b623235add6',
      'fb447350c4e868c52ac3275cf9d4327e',
      'f4c633c3044fc145f84f335cb81953de',
    ],
    [
      '',
      'a0f3080000f46400d0c7e9076c834403',
      '75deaa25c09f208e1dc4ce6b5cad3fbf',
      '61ee09218d29b0aaed7e154a2c5509cc',
      'dd3fab2251f11ac759f0887129cc2ee7',
    ],
    [
      '663cea190ffb83d89593f3f476b6bc24d7e679107ea26adb8caf6652d0656136',
      '48443d0bb0d21109c89a100b5ce2c208',
      '6acb5f61a7176dd320c5c1eb2edcdc74',
      'ae212a55399729595dea458bc621ff0e',
      '0ee1c16bb73f0f4fd19881753c01cdbe',
    ],
  ])('vector of the Poly1305-AES paper: message "%s"', (message, r, k, nonce, tag) => {
    const s = createCipheriv('aes-128-ecb', hex(k), null).update(hex(nonce));
    expect(macOf(hex(r), s, hex(message))).toBe(tag);
  });

  test('equals the definition for every length around blocks and pieces', () => {
    const message = Buffer.alloc(2 * macPieceBytes + 64, 0xff);
    const lengths = [...Array(50).keys(), macPieceBytes - 1, macPieceBytes, macPieceBytes + 1, 2 * macPieceBytes, 2 * macPieceBytes + 33];
    for (const key of [Buffer.alloc(16, 0xff), randomBytes(16)]) {
      for (const length of lengths) {
        const part = message.subarray(0, length);
        expect(macOf(key, hex(full), part), `length ${length}`).toBe(referenceMacOf(key, hex(full), part));
      }
    }
  });

  test('equals the definition for any key and message, in any steps', () => {
    const block = fc.uint8Array({ minLength: 16, maxLength: 16 });
    fc.assert(
      fc.property(block, block, fc.uint8Array({ maxLength: 700 }), fc.integer({ min: 1, max: 20 }), (r, s, message, blocks) => {
        expect(macOf(r, s, message, blocks * 16)).toBe(referenceMacOf(r, s, message));
      }),
    );
  });

  test('equals the definition for random pieces, where two chains run', () => {
    for (let round = 0; round < 20; round++) {
      const [r, s, message] = [randomBytes(16), randomBytes(16), randomBytes(macPieceBytes + round)];
      expect(macOf(r, s, message)).toBe(referenceMacOf(r, s, message));
    }
  });
});
