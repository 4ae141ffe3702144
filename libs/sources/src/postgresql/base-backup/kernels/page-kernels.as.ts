/**
 * The inner loops over what a base backup brings, in AssemblyScript: CRC-32C, and the checksum of PostgreSQL's pages.
 * Built by scripts/build-kernels.ts.
 *
 * Memory is imported and laid out by hand; nothing is allocated. The addresses are repeated in page-kernels.ts.
 *    1024   8 × 256 × u32   CRC-32C of a byte with 0 to 7 zero bytes behind it
 *    9216   209 × 16        quotient: the last blocks of the stretch before, then those of this stretch (16,384 bytes)
 *   29184   209 × 16        what is left of a piece when its quotient is taken out of it
 *   32768   …               what inspectPages has found
 *   65536   …               the piece that the caller fills
 */
const TABLES: usize = 1024;
const QUOTIENT: usize = 9216;
const REST: usize = 29184;

// CRC-32C --------------------------------------------------------------------------------------------------------------------

/** Castagnoli's polynomial, the bits reversed: the lowest bit of a byte is the first of the message. */
const POLYNOMIAL: u32 = 0x82f63b78;

/** Fills the tables. Once for each memory. */
export function crcPrepare(): void {
  for (let byte: u32 = 0; byte < 256; byte++) {
    let crc = byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (POLYNOMIAL & (0 - (crc & 1)));
    store<u32>(TABLES + (<usize>byte << 2), crc);
  }
  for (let at: usize = TABLES; at < TABLES + 7 * 1024; at += 4) {
    const crc = load<u32>(at);
    store<u32>(at + 1024, (crc >>> 8) ^ load<u32>(TABLES + ((<usize>crc & 0xff) << 2)));
  }
}

/** The register after [at, at + size), without the inversions before and after. */
function crcByTables(crc: u32, at: usize, size: usize): u32 {
  const end = at + size;
  const lastWhole = at + (size & ~7);
  while (at < lastWhole) {
    const low = <usize>(crc ^ load<u32>(at));
    const high = <usize>load<u32>(at, 4);
    crc =
      load<u32>(TABLES + ((low & 0xff) << 2), 7168) ^
      load<u32>(TABLES + (((low >>> 8) & 0xff) << 2), 6144) ^
      load<u32>(TABLES + (((low >>> 16) & 0xff) << 2), 5120) ^
      load<u32>(TABLES + ((low >>> 24) << 2), 4096) ^
      load<u32>(TABLES + ((high & 0xff) << 2), 3072) ^
      load<u32>(TABLES + (((high >>> 8) & 0xff) << 2), 2048) ^
      load<u32>(TABLES + (((high >>> 16) & 0xff) << 2), 1024) ^
      load<u32>(TABLES + ((high >>> 24) << 2));
    at += 8;
  }
  while (at < end) {
    crc = (crc >>> 8) ^ load<u32>(TABLES + ((<usize>(crc ^ <u32>load<u8>(at)) & 0xff) << 2));
    at++;
  }
  return crc;
}

/**
 * The polynomial divides x^209 + x^144 + x^54 + x^39 + x^14 + 1, found by trying, and so it divides the same with x^128 for x: raising to
 * the power of 128 is squaring seven times, which over GF(2) goes through a sum term by term. So the message, in blocks of 128 bits, may have
 * any block taken out of it that is added again 65, 155, 170, 195 and 209 blocks later. What is taken out is the block and what was added
 * to it; blocks are added without a carry or a shift, four of them are on their way at a time. The last 209 blocks are left, for the tables.
 */
const SPAN: usize = 209 * 16;
const AFTER_65: usize = (209 - 65) * 16;
const AFTER_155: usize = (209 - 155) * 16;
const AFTER_170: usize = (209 - 170) * 16;
const AFTER_195: usize = (209 - 195) * 16;
/** Of the message, that go through the quotient's place at a time: it stays in the nearest cache. */
const STRETCH: usize = 16384;

/** What is added to the block at `at`, whose quotient would be at `quotient + SPAN`. */
// @ts-ignore: decorator of AssemblyScript
@inline function added(at: usize, quotient: usize): v128 {
  return v128.xor(
    v128.xor(
      v128.xor(v128.load(at), v128.load(quotient)),
      v128.xor(v128.load(quotient, AFTER_195), v128.load(quotient, AFTER_170)),
    ),
    v128.xor(v128.load(quotient, AFTER_155), v128.load(quotient, AFTER_65)),
  );
}

/** The register after [at, at + size), where it was `crc`, without the inversions before and after. Eight bytes behind it are not touched. */
export function crcUpdate(crc: u32, at: usize, size: usize): u32 {
  if (size < 4 * SPAN) return crcByTables(crc, at, size);
  const end = at + size;
  // Multiples of four blocks, of all but the last 209.
  let left = (size - SPAN) & ~63;
  const first = load<u32>(at);
  const start = at;
  store<u32>(at, first ^ crc);
  memory.fill(QUOTIENT, 0, SPAN);
  while (left > 0) {
    const stretch = left < STRETCH ? left : STRETCH;
    const stretchEnd = at + stretch;
    let quotient = QUOTIENT;
    while (at < stretchEnd) {
      const a = added(at, quotient);
      const b = added(at + 16, quotient + 16);
      const c = added(at + 32, quotient + 32);
      const d = added(at + 48, quotient + 48);
      v128.store(quotient, a, SPAN);
      v128.store(quotient, b, SPAN + 16);
      v128.store(quotient, c, SPAN + 32);
      v128.store(quotient, d, SPAN + 48);
      at += 64;
      quotient += 64;
    }
    memory.copy(QUOTIENT, quotient, SPAN);
    left -= stretch;
  }
  store<u32>(start, first);
  // Nothing is taken out any more.
  memory.fill(QUOTIENT + SPAN, 0, SPAN);
  for (let offset: usize = 0; offset < SPAN; offset += 16) {
    v128.store(REST + offset, added(at + offset, QUOTIENT + offset));
  }
  at += SPAN;
  return crcByTables(crcByTables(0, REST, SPAN), at, end - at);
}

// Pages ----------------------------------------------------------------------------------------------------------------------

const PAGE_BYTES: usize = 8192;
const PRIME: i32 = 16777619;

// @ts-ignore: decorator of AssemblyScript
@inline function mix(lanes: v128, words: v128): v128 {
  const mixed = v128.xor(lanes, words);
  return v128.xor(i32x4.mul(mixed, i32x4.splat(PRIME)), i32x4.shr_u(mixed, 17));
}

/** The checksum of the page at `at` before its block number comes in: see page-checksum.ts. */
function foldPage(at: usize): u32 {
  let a = i32x4(0x5b1f36e9, 0xb8525960, 0x02ab50aa, 0x1de66d2a);
  let b = i32x4(0x79ff467a, 0x9bb9f8a3, 0x217e7cd2, 0x83e13d2c);
  let c = i32x4(0xf8d4474f, 0xe39eb970, 0x42c6ae16, 0x993216fa);
  let d = i32x4(0x7b093b5d, 0x98daff3c, 0xf718902a, 0x0b1c9cdb);
  let e = i32x4(0xe58f764b, 0x187636bc, 0x5d7b3bb1, 0xe73de7de);
  let f = i32x4(0x92bec979, 0xcca6c0b2, 0x304a0979, 0x85aa43d4);
  let g = i32x4(0x783125bb, 0x6ca8eaa2, 0xe407eac6, 0x4b5cfc3e);
  let h = i32x4(0x9fbf8c76, 0x15ca20be, 0xf2ca9fd3, 0x959bd756);
  // The checksum's own field counts as zero.
  let first = v128.and(v128.load(at), i32x4(-1, -1, 0xffff0000, -1));
  const end = at + PAGE_BYTES;
  while (true) {
    a = mix(a, first);
    b = mix(b, v128.load(at, 16));
    c = mix(c, v128.load(at, 32));
    d = mix(d, v128.load(at, 48));
    e = mix(e, v128.load(at, 64));
    f = mix(f, v128.load(at, 80));
    g = mix(g, v128.load(at, 96));
    h = mix(h, v128.load(at, 112));
    at += 128;
    if (at >= end) break;
    first = v128.load(at);
  }
  const zeros = i32x4.splat(0);
  for (let round = 0; round < 2; round++) {
    a = mix(a, zeros);
    b = mix(b, zeros);
    c = mix(c, zeros);
    d = mix(d, zeros);
    e = mix(e, zeros);
    f = mix(f, zeros);
    g = mix(g, zeros);
    h = mix(h, zeros);
  }
  const joined = v128.xor(v128.xor(v128.xor(a, b), v128.xor(c, d)), v128.xor(v128.xor(e, f), v128.xor(g, h)));
  return (
    i32x4.extract_lane(joined, 0) ^ i32x4.extract_lane(joined, 1) ^ i32x4.extract_lane(joined, 2) ^ i32x4.extract_lane(joined, 3)
  );
}

/**
 * Looks at `count` pages from `at` on, and writes two words to `out` for each that was used and not written since startHigh/startLow:
 * its number from 0 on in the upper half, what it says its checksum is in the lower; then foldPage. Returns how many there are.
 */
export function inspectPages(at: usize, count: u32, startHigh: u32, startLow: u32, out: usize): u32 {
  let found: u32 = 0;
  for (let index: u32 = 0; index < count; index++, at += PAGE_BYTES) {
    if (load<u16>(at, 14) == 0) continue;
    const high = load<u32>(at);
    if (high > startHigh || (high == startHigh && load<u32>(at, 4) >= startLow)) continue;
    store<u32>(out, (index << 16) | load<u16>(at, 8));
    store<u32>(out, foldPage(at), 4);
    out += 8;
    found++;
  }
  return found;
}
