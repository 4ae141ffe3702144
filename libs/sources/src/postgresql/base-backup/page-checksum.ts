/**
 * The checksum of PostgreSQL's pages: 32 lanes of a 32-bit FNV-1a that is mixed a little better, over the page as 64 rows of 32 words
 * with its checksum field as zero, two more rounds of zeros, lanes joined by xor; then the block number, and 16 bits out of it that are
 * never 0. Source: src/include/storage/checksum_impl.h.
 *
 * Head of a page (bufpage.h), little endian:
 *
 *     0 LSN: high u32, low u32 · 8 u16 checksum · 10 u16 flags · 12 u16 lower · 14 u16 upper (0: never used) · 16 u16 special · 18 u16 size, version
 */
export const pageSizeBytes = 8192;

const laneCount = 32;
const rowCount = pageSizeBytes / 4 / laneCount;
const prime = 16_777_619;

const laneStart = Int32Array.from([
  0x5b1f36e9, 0xb8525960, 0x02ab50aa, 0x1de66d2a, 0x79ff467a, 0x9bb9f8a3, 0x217e7cd2, 0x83e13d2c, 0xf8d4474f, 0xe39eb970, 0x42c6ae16,
  0x993216fa, 0x7b093b5d, 0x98daff3c, 0xf718902a, 0x0b1c9cdb, 0xe58f764b, 0x187636bc, 0x5d7b3bb1, 0xe73de7de, 0x92bec979, 0xcca6c0b2,
  0x304a0979, 0x85aa43d4, 0x783125bb, 0x6ca8eaa2, 0xe407eac6, 0x4b5cfc3e, 0x9fbf8c76, 0x15ca20be, 0xf2ca9fd3, 0x959bd756,
]);
const lanes = new Int32Array(laneCount);

/** The word that holds checksum (low half) and flags (high half). */
const checksumWord = 2;

/** Of the page that begins at word `at`, as block `blockNumber` of its relation (of all its files together). 1 to 65,535. */
export function pageChecksum(words: Int32Array, at: number, blockNumber: number): number {
  lanes.set(laneStart);
  // The first row alone holds the checksum's own field.
  const saved = words[at + checksumWord] ?? 0;
  words[at + checksumWord] = saved & 0xffff_0000;
  for (let row = 0; row < rowCount; row++) {
    const from = at + row * laneCount;
    for (let lane = 0; lane < laneCount; lane++) {
      const mixed = (lanes[lane] ?? 0) ^ (words[from + lane] ?? 0);
      lanes[lane] = Math.imul(mixed, prime) ^ (mixed >>> 17);
    }
  }
  words[at + checksumWord] = saved;
  let joined = 0;
  for (let lane = 0; lane < laneCount; lane++) {
    let mixed = lanes[lane] ?? 0;
    mixed = Math.imul(mixed, prime) ^ (mixed >>> 17);
    joined ^= Math.imul(mixed, prime) ^ (mixed >>> 17);
  }
  return (((joined ^ blockNumber) >>> 0) % 65_535) + 1;
}
