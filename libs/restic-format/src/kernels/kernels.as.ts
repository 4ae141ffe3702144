/**
 * The inner loops of the format in AssemblyScript: Poly1305, counter mode round a block cipher, and the Rabin fingerprint.
 * Built by scripts/build-kernels.ts.
 *
 * Memory is imported and laid out by hand; nothing is allocated. The addresses are repeated in kernels.ts.
 *    1024   256 × u64  modulus: what the top 8 bits of a digest turn into, with those bits set so that xor clears them
 *    3072   256 × u64  leaving: what the byte that leaves the window contributes, one shift later
 *    5120   16         Poly1305 key r, then 16 bytes of s (the AES-encrypted nonce), then 16 bytes of tag
 *    5184   16         the padded last block
 *   65536   …          the window that the caller fills
 */
const MODULUS: usize = 1024;
const LEAVING: usize = 3072;
const KEY_R: usize = 5120;
const KEY_S: usize = 5136;
const TAG: usize = 5152;
const LAST_BLOCK: usize = 5184;

// Poly1305 -----------------------------------------------------------------------------------------------------------------

/** The caller hands over full pieces of this size; for it the power of r that joins the two chains is computed once. */
const PIECE_BYTES: usize = 32768;

const LOW32: u64 = 0xffffffff;
const LOW26: u64 = 0x3ffffff;

// r in four 32-bit limbs. Clamping zeroes the low two bits of r1..r3, which makes r/4*5 exact: the fold of 2^130 = 5.
let r0: u64 = 0, r1: u64 = 0, r2: u64 = 0, r3: u64 = 0;
// The accumulator, 32-bit limbs and the few bits above 2^128.
let h0: u64 = 0, h1: u64 = 0, h2: u64 = 0, h3: u64 = 0, h4: u64 = 0;
// Operand, power and product in 26-bit limbs, for the multiplications by a number that is not clamped.
let p0: u64 = 0, p1: u64 = 0, p2: u64 = 0, p3: u64 = 0, p4: u64 = 0;
let m0: u64 = 0, m1: u64 = 0, m2: u64 = 0, m3: u64 = 0, m4: u64 = 0;
// r^(blocks of half a piece).
let w0: u64 = 0, w1: u64 = 0, w2: u64 = 0, w3: u64 = 0, w4: u64 = 0;

/** m = a·b mod 2^130 − 5, limbs of 26 bits and a little. */
function multiply(
  a0: u64, a1: u64, a2: u64, a3: u64, a4: u64,
  b0: u64, b1: u64, b2: u64, b3: u64, b4: u64,
): void {
  const f1 = b1 * 5, f2 = b2 * 5, f3 = b3 * 5, f4 = b4 * 5;
  let d0 = a0 * b0 + a1 * f4 + a2 * f3 + a3 * f2 + a4 * f1;
  let d1 = a0 * b1 + a1 * b0 + a2 * f4 + a3 * f3 + a4 * f2;
  let d2 = a0 * b2 + a1 * b1 + a2 * b0 + a3 * f4 + a4 * f3;
  let d3 = a0 * b3 + a1 * b2 + a2 * b1 + a3 * b0 + a4 * f4;
  let d4 = a0 * b4 + a1 * b3 + a2 * b2 + a3 * b1 + a4 * b0;
  d1 += d0 >> 26;
  d2 += d1 >> 26;
  d3 += d2 >> 26;
  d4 += d3 >> 26;
  d0 = (d0 & LOW26) + (d4 >> 26) * 5;
  m1 = (d1 & LOW26) + (d0 >> 26);
  m0 = d0 & LOW26;
  m2 = d2 & LOW26;
  m3 = d3 & LOW26;
  m4 = d4 & LOW26;
}

/** p = r^exponent. */
function raise(exponent: usize): void {
  let x0 = r0 & LOW26;
  let x1 = ((r0 >> 26) | (r1 << 6)) & LOW26;
  let x2 = ((r1 >> 20) | (r2 << 12)) & LOW26;
  let x3 = ((r2 >> 14) | (r3 << 18)) & LOW26;
  let x4 = r3 >> 8;
  p0 = 1; p1 = 0; p2 = 0; p3 = 0; p4 = 0;
  while (exponent > 0) {
    if (exponent & 1) {
      multiply(p0, p1, p2, p3, p4, x0, x1, x2, x3, x4);
      p0 = m0; p1 = m1; p2 = m2; p3 = m3; p4 = m4;
    }
    exponent >>= 1;
    if (exponent > 0) {
      multiply(x0, x1, x2, x3, x4, x0, x1, x2, x3, x4);
      x0 = m0; x1 = m1; x2 = m2; x3 = m3; x4 = m4;
    }
  }
}

/** Takes r from KEY_R. Once per key. */
export function macSetKey(): void {
  r0 = <u64>(load<u32>(KEY_R) & 0x0fffffff);
  r1 = <u64>(load<u32>(KEY_R, 4) & 0x0ffffffc);
  r2 = <u64>(load<u32>(KEY_R, 8) & 0x0ffffffc);
  r3 = <u64>(load<u32>(KEY_R, 12) & 0x0ffffffc);
  raise(PIECE_BYTES / 32);
  w0 = p0; w1 = p1; w2 = p2; w3 = p3; w4 = p4;
}

export function macBegin(): void {
  h0 = 0; h1 = 0; h2 = 0; h3 = 0; h4 = 0;
}

/** Whole blocks of [at, end); `high` is the bit above each block: 1, or 0 for the padded last one. */
function oneChain(at: usize, end: usize, high: u64): void {
  let a0 = h0, a1 = h1, a2 = h2, a3 = h3, a4 = h4;
  const x0 = r0, x1 = r1, x2 = r2, x3 = r3;
  const s1 = x1 + (x1 >> 2), s2 = x2 + (x2 >> 2), s3 = x3 + (x3 >> 2);
  while (at < end) {
    a0 += <u64>load<u32>(at);
    a1 += <u64>load<u32>(at, 4) + (a0 >> 32);
    a2 += <u64>load<u32>(at, 8) + (a1 >> 32);
    a3 += <u64>load<u32>(at, 12) + (a2 >> 32);
    a4 += high + (a3 >> 32);
    a0 &= LOW32; a1 &= LOW32; a2 &= LOW32; a3 &= LOW32;
    const d0 = a0 * x0 + a1 * s3 + a2 * s2 + a3 * s1;
    let d1 = a0 * x1 + a1 * x0 + a2 * s3 + a3 * s2 + a4 * s1;
    let d2 = a0 * x2 + a1 * x1 + a2 * x0 + a3 * s3 + a4 * s2;
    let d3 = a0 * x3 + a1 * x2 + a2 * x1 + a3 * x0 + a4 * s3;
    a4 = a4 * x0;
    d1 += d0 >> 32;
    d2 += d1 >> 32;
    d3 += d2 >> 32;
    a4 += d3 >> 32;
    // a0 may pass 32 bits here; the next block's carry takes the rest along.
    a0 = (d0 & LOW32) + (a4 >> 2) * 5;
    a1 = d1 & LOW32; a2 = d2 & LOW32; a3 = d3 & LOW32;
    a4 &= 3;
    at += 16;
  }
  h0 = a0; h1 = a1; h2 = a2; h3 = a3; h4 = a4;
  carry();
}

// @ts-ignore: decorator of AssemblyScript
@inline function carry(): void {
  h1 += h0 >> 32; h0 &= LOW32;
  h2 += h1 >> 32; h1 &= LOW32;
  h3 += h2 >> 32; h2 &= LOW32;
  h4 += h3 >> 32; h3 &= LOW32;
}

/**
 * One whole piece as two halves whose multiplications do not wait for each other: a continues the accumulator over the first
 * half, b starts from zero over the second; the result is a·r^(blocks of a half) + b.
 */
function twoChains(at: usize): void {
  let a0 = h0, a1 = h1, a2 = h2, a3 = h3, a4 = h4;
  let b0: u64 = 0, b1: u64 = 0, b2: u64 = 0, b3: u64 = 0, b4: u64 = 0;
  const x0 = r0, x1 = r1, x2 = r2, x3 = r3;
  const s1 = x1 + (x1 >> 2), s2 = x2 + (x2 >> 2), s3 = x3 + (x3 >> 2);
  const end = at + PIECE_BYTES / 2;
  while (at < end) {
    a0 += <u64>load<u32>(at);
    b0 += <u64>load<u32>(at, PIECE_BYTES / 2);
    a1 += <u64>load<u32>(at, 4) + (a0 >> 32);
    b1 += <u64>load<u32>(at, PIECE_BYTES / 2 + 4) + (b0 >> 32);
    a2 += <u64>load<u32>(at, 8) + (a1 >> 32);
    b2 += <u64>load<u32>(at, PIECE_BYTES / 2 + 8) + (b1 >> 32);
    a3 += <u64>load<u32>(at, 12) + (a2 >> 32);
    b3 += <u64>load<u32>(at, PIECE_BYTES / 2 + 12) + (b2 >> 32);
    a4 += 1 + (a3 >> 32);
    b4 += 1 + (b3 >> 32);
    a0 &= LOW32; a1 &= LOW32; a2 &= LOW32; a3 &= LOW32;
    b0 &= LOW32; b1 &= LOW32; b2 &= LOW32; b3 &= LOW32;
    const d0 = a0 * x0 + a1 * s3 + a2 * s2 + a3 * s1;
    const e0 = b0 * x0 + b1 * s3 + b2 * s2 + b3 * s1;
    let d1 = a0 * x1 + a1 * x0 + a2 * s3 + a3 * s2 + a4 * s1;
    let e1 = b0 * x1 + b1 * x0 + b2 * s3 + b3 * s2 + b4 * s1;
    let d2 = a0 * x2 + a1 * x1 + a2 * x0 + a3 * s3 + a4 * s2;
    let e2 = b0 * x2 + b1 * x1 + b2 * x0 + b3 * s3 + b4 * s2;
    let d3 = a0 * x3 + a1 * x2 + a2 * x1 + a3 * x0 + a4 * s3;
    let e3 = b0 * x3 + b1 * x2 + b2 * x1 + b3 * x0 + b4 * s3;
    a4 = a4 * x0;
    b4 = b4 * x0;
    d1 += d0 >> 32; e1 += e0 >> 32;
    d2 += d1 >> 32; e2 += e1 >> 32;
    d3 += d2 >> 32; e3 += e2 >> 32;
    a4 += d3 >> 32; b4 += e3 >> 32;
    a0 = (d0 & LOW32) + (a4 >> 2) * 5;
    b0 = (e0 & LOW32) + (b4 >> 2) * 5;
    a1 = d1 & LOW32; a2 = d2 & LOW32; a3 = d3 & LOW32; a4 &= 3;
    b1 = e1 & LOW32; b2 = e2 & LOW32; b3 = e3 & LOW32; b4 &= 3;
    at += 16;
  }
  h0 = a0; h1 = a1; h2 = a2; h3 = a3; h4 = a4;
  carry();
  multiply(
    h0 & LOW26,
    ((h0 >> 26) | (h1 << 6)) & LOW26,
    ((h1 >> 20) | (h2 << 12)) & LOW26,
    ((h2 >> 14) | (h3 << 18)) & LOW26,
    (h3 >> 8) | (h4 << 24),
    w0, w1, w2, w3, w4,
  );
  // Back to 32-bit limbs, b added on the way; carry() brings every limb below 2^32 again.
  h0 = b0 + (m0 | ((m1 << 26) & LOW32));
  h1 = b1 + (m1 >> 6) + ((m2 << 20) & LOW32);
  h2 = b2 + (m2 >> 12) + ((m3 << 14) & LOW32);
  h3 = b3 + (m3 >> 18) + ((m4 << 8) & LOW32);
  h4 = b4 + (m4 >> 24);
  carry();
}

/** Goes on over [at, at + size): whole blocks only. */
export function macUpdate(at: usize, size: usize): void {
  const end = at + size;
  while (end - at >= PIECE_BYTES) {
    twoChains(at);
    at += PIECE_BYTES;
  }
  oneChain(at, end, 1);
}

/** Ends with the 0 to 15 bytes at `at`, adds s from KEY_S and leaves the tag at TAG. */
export function macEnd(at: usize, size: usize): void {
  if (size > 0) {
    store<u64>(LAST_BLOCK, 0);
    store<u64>(LAST_BLOCK, 0, 8);
    memory.copy(LAST_BLOCK, at, size);
    store<u8>(LAST_BLOCK + size, 1);
    oneChain(LAST_BLOCK, LAST_BLOCK + 16, 0);
  }
  h0 += (h4 >> 2) * 5;
  h4 &= 3;
  carry();
  // h − p is h + 5 − 2^130: taken when h + 5 reaches 2^130.
  let t = h0 + 5;
  const g0 = t & LOW32;
  t = h1 + (t >> 32);
  const g1 = t & LOW32;
  t = h2 + (t >> 32);
  const g2 = t & LOW32;
  t = h3 + (t >> 32);
  const g3 = t & LOW32;
  if ((h4 + (t >> 32)) >> 2) {
    h0 = g0; h1 = g1; h2 = g2; h3 = g3;
  }
  t = h0 + <u64>load<u32>(KEY_S);
  store<u32>(TAG, <u32>t);
  t = h1 + <u64>load<u32>(KEY_S, 4) + (t >> 32);
  store<u32>(TAG, <u32>t, 4);
  t = h2 + <u64>load<u32>(KEY_S, 8) + (t >> 32);
  store<u32>(TAG, <u32>t, 8);
  t = h3 + <u64>load<u32>(KEY_S, 12) + (t >> 32);
  store<u32>(TAG, <u32>t, 12);
}

/** Copies the block at `from` to `to`. */
export function copyBlock(from: usize, to: usize): void {
  v128.store(to, v128.load(from));
}

/** Whether two blocks are the same. Takes as long for all that differ. */
export function isSameBlock(a: usize, b: usize): bool {
  return !v128.any_true(v128.xor(v128.load(a), v128.load(b)));
}

// Counter mode ---------------------------------------------------------------------------------------------------------------

/** Fills [at, at + 16·count) with the counter blocks that follow from the IV at `iv`: 128-bit integers, big-endian, counting up. */
export function counterBlocks(iv: usize, at: usize, count: usize): void {
  let high = bswap<u64>(load<u64>(iv));
  let low = bswap<u64>(load<u64>(iv, 8));
  const end = at + (count << 4);
  while (at < end) {
    store<u64>(at, bswap<u64>(high));
    store<u64>(at, bswap<u64>(low), 8);
    low++;
    if (low == 0) high++;
    at += 16;
  }
}

/** [to, to + size) = [at, at + size) ^ [key, key + size). */
export function mask(at: usize, key: usize, size: usize, to: usize): void {
  const end = at + size, lastWhole = at + (size & ~15);
  while (at < lastWhole) {
    v128.store(to, v128.xor(v128.load(at), v128.load(key)));
    at += 16;
    key += 16;
    to += 16;
  }
  while (at < end) {
    store<u8>(to, load<u8>(at) ^ load<u8>(key));
    at++;
    key++;
    to++;
  }
}

// Rabin fingerprint ----------------------------------------------------------------------------------------------------------

const WINDOW_BYTES: usize = 64;
const DEGREE: i32 = 53;
/** The bits of the digest that the next shift pushes out of the polynomial's degree. */
const TOP_SHIFT: u64 = 45;
const SPLIT_MASK: u64 = 0xfffff;

function reduce(value: u64, polynomial: u64): u64 {
  for (let bit = 63; bit >= DEGREE; bit--) {
    if ((value >> bit) & 1) value ^= polynomial << (bit - DEGREE);
  }
  return value;
}

/** Fills the two tables for a polynomial of degree 53. Once per polynomial. */
export function chunkSetPolynomial(polynomial: u64): void {
  for (let byte: u64 = 0; byte < 256; byte++) {
    const high = byte << DEGREE;
    store<u64>(MODULUS + (<usize>byte << 3), reduce(high, polynomial) | high);
  }
  for (let byte: u64 = 0; byte < 256; byte++) {
    let digest = byte;
    for (let i: usize = 0; i < WINDOW_BYTES; i++) digest = reduce(digest << 8, polynomial);
    store<u64>(LEAVING + (<usize>byte << 3), digest);
  }
}

/** The digest of the 64 bytes before `at`. */
function digestBefore(at: usize): u64 {
  let digest: u64 = 0;
  for (let i = at - WINDOW_BYTES; i < at; i++) {
    digest = ((digest << 8) | <u64>load<u8>(i)) ^ load<u64>(<usize>(digest >> TOP_SHIFT) << 3, MODULUS);
  }
  return digest;
}

/** The digest one byte on. The leaving byte's part is looked up as it is after the shift, off the chain of dependencies. */
// @ts-ignore: decorator of AssemblyScript
@inline function roll(digest: u64, at: usize): u64 {
  const change = load<u64>(<usize>load<u8>(at - WINDOW_BYTES) << 3, LEAVING) ^ <u64>load<u8>(at);
  return (digest << 8) ^ load<u64>(<usize>(digest >> TOP_SHIFT) << 3, MODULUS) ^ change;
}

/**
 * The number of bytes of [at, at + 4·laneBytes) up to and with the first one that ends a chunk, or 0. Reads 64 bytes before `at`.
 * Four lanes roll side by side, since one alone waits for its own table look-ups.
 */
export function chunkScan(at: usize, laneBytes: usize): usize {
  let i0 = at, i1 = at + laneBytes, i2 = i1 + laneBytes, i3 = i2 + laneBytes;
  let d0 = digestBefore(i0), d1 = digestBefore(i1), d2 = digestBefore(i2), d3 = digestBefore(i3);
  const end = i1, none: usize = 4 * laneBytes + 1;
  let first = none;
  while (i0 < end) {
    d0 = roll(d0, i0);
    d1 = roll(d1, i1);
    d2 = roll(d2, i2);
    d3 = roll(d3, i3);
    if (!(d0 & SPLIT_MASK)) return i0 - at + 1;
    if (!(d1 & SPLIT_MASK)) first = min(first, i1 - at + 1);
    if (!(d2 & SPLIT_MASK)) first = min(first, i2 - at + 1);
    if (!(d3 & SPLIT_MASK)) first = min(first, i3 - at + 1);
    i0++;
    i1++;
    i2++;
    i3++;
  }
  return first == none ? 0 : first;
}

/** The same over [at, at + size) in one lane, for what is left below four lanes. */
export function chunkScanRest(at: usize, size: usize): usize {
  let digest = digestBefore(at);
  for (let i: usize = 0; i < size; i++) {
    digest = roll(digest, at + i);
    if (!(digest & SPLIT_MASK)) return i + 1;
  }
  return 0;
}
