/**
 * CRC-32C (Castagnoli, RFC 3720 appendix B.4) of parts put together: a file's parts are summed wherever they are, in any order. Bits are
 * reversed, as in the kernels: the highest bit is the coefficient of 1.
 */

/** Of no bytes. */
export const emptyCrc32c = 0;

const polynomial = 0x82f6_3b78;
const one = 0x8000_0000;
/** x to the power of 8: a byte. */
const byteShift = 0x0080_0000;

/** Of what has `first`, and `second` of `secondBytes` behind it. All are unsigned. */
export function joinCrc32c(first: number, second: number, secondBytes: number): number {
  return (multiply(shiftBy(secondBytes), first) ^ second) >>> 0;
}

/** As manifests have it: the bytes of the sum in a server's memory, which is little-endian wherever this reads its pages. */
export function formatCrc32c(crc: number): string {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(crc);
  return bytes.toString('hex');
}

/** Nearly all parts of a backup are of one size. */
let lastShift = { bytes: 0, factor: one };

/** x to the power of eight times `bytes`. */
function shiftBy(bytes: number): number {
  if (lastShift.bytes === bytes) return lastShift.factor;
  let factor = one;
  let power = byteShift;
  for (let left = bytes; left > 0; left = Math.floor(left / 2)) {
    if (left % 2 === 1) factor = multiply(power, factor);
    power = multiply(power, power);
  }
  lastShift = { bytes, factor };
  return factor;
}

/** Modulo the polynomial. */
function multiply(a: number, b: number): number {
  let product = 0;
  let shifted = b;
  for (let bit = one; bit !== 0; bit >>>= 1) {
    if ((a & bit) !== 0) product ^= shifted;
    shifted = (shifted & 1) === 0 ? shifted >>> 1 : (shifted >>> 1) ^ polynomial;
  }
  return product >>> 0;
}
