/** File systems keep holes by the block; 4 KiB is the block of nearly all. */
const blockBytes = 4096;
const zeros = Buffer.alloc(blockBytes);

export interface DataRun {
  readonly start: number;
  readonly end: number;
}

/**
 * The parts of `bytes` that have to be written at `positionBytes` of a new file for the rest to be a hole of zeros. Blocks are those of
 * the file. The last one is always written, so that the file gets its length without anybody having to set it.
 */
export function dataRuns(bytes: Uint8Array, positionBytes: number): DataRun[] {
  const runs: { start: number; end: number }[] = [];
  for (let start = 0; start < bytes.length;) {
    const end = Math.min(start + blockBytes - ((positionBytes + start) % blockBytes), bytes.length);
    if (end === bytes.length || !isZero(bytes.subarray(start, end))) {
      const last = runs.at(-1);
      if (last?.end === start) last.end = end;
      else runs.push({ start, end });
    }
    start = end;
  }
  return runs;
}

function isZero(block: Uint8Array): boolean {
  return zeros.compare(block, 0, block.length, 0, block.length) === 0;
}
