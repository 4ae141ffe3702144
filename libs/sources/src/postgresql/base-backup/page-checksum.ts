/**
 * The checksum of PostgreSQL's pages: 32 lanes of a 32-bit FNV-1a that is mixed a little better, over the page as 64 rows of 32 words
 * with its checksum field as zero, two more rounds of zeros, lanes joined by xor: the fold, which kernels/page-kernels.as.ts makes. Then
 * the block number, and 16 bits out of it that are never 0. Source: src/include/storage/checksum_impl.h.
 *
 * Head of a page (bufpage.h), little endian:
 *
 *     0 LSN: high u32, low u32 · 8 u16 checksum · 10 u16 flags · 12 u16 lower · 14 u16 upper (0: never used) · 16 u16 special · 18 u16 size, version
 */
export const pageSizeBytes = 8192;

/** Of a page with this fold, as block `blockNumber` of its relation (of all its files together). 1 to 65,535. */
export function pageChecksum(fold: number, blockNumber: number): number {
  return (((fold ^ blockNumber) >>> 0) % 65_535) + 1;
}
