import { createChunker, maxChunkBytes, minChunkBytes } from '@holdfast/restic-format/chunker';
import { describe, expect, it } from 'vitest';
import { FileCutter, recordKeyOf } from './file-cutter.ts';
import { noise } from './testing/test-repository.ts';

const polynomial = 0x3da3358b4dc173n;
const byContent = createChunker(polynomial);
const bytes = noise(40_000_000, 1);

/** Cuts as a reader does that gets so much at a time, and hears of the ends in what it has read. */
function cutAll(cutter: FileCutter, content: Uint8Array, ends: readonly number[] | undefined, readBytes: number): number[] {
  const heard: number[] = [];
  cutter.begin(ends === undefined ? undefined : heard);
  const lengths: number[] = [];
  let start = 0;
  for (let end = 0, isLast = false; !isLast;) {
    isLast = end === content.length;
    const next = Math.min(content.length, end + readBytes);
    heard.push(...(ends ?? []).filter((at) => at > end && at <= next));
    end = next;
    for (let length = -1; length !== 0; start += length) {
      length = cutter.cut(content, start, end, isLast);
      if (length > 0) lengths.push(length);
    }
  }
  expect(start).toBe(content.length);
  return lengths;
}

describe('a cutter of files', () => {
  it('cuts by content where nothing is chosen by the source', () => {
    const cutter = new FileCutter(byContent);
    const lengths = cutAll(cutter, bytes, undefined, 1_000_000);
    let at = 0;
    for (const length of lengths) {
      expect(length).toBe(byContent.cut(bytes, at, bytes.length, true));
      at += length;
    }
  });

  it('cuts at the first chosen end behind the least length, however much is read at a time', () => {
    const ends = [1000, 300_000, 600_000, 700_000, 1_300_000, 1_300_001, 9_000_000, 9_000_000 + minChunkBytes];
    const content = bytes.subarray(0, 10_000_000);
    for (const readBytes of [77_777, 1_000_000, 20_000_000]) {
      const lengths = cutAll(new FileCutter(byContent), content, ends, readBytes);
      expect(lengths).toEqual([600_000, 700_000, 7_700_000, minChunkBytes, 1_000_000 - minChunkBytes]);
    }
  });

  it('cuts by content where no chunk may be as long as a record', () => {
    const end = 30_000_000;
    const lengths = cutAll(new FileCutter(byContent), bytes, [end], 1_000_000);
    let at = 0;
    // As long as the end is further away than a chunk may reach.
    for (let nth = 0; at + maxChunkBytes < end; at += lengths[nth++] ?? 0) {
      expect(lengths[nth]).toBe(byContent.cut(bytes, at, bytes.length, true));
    }
    expect(lengths.map((_, nth) => lengths.slice(0, nth + 1).reduce((sum, length) => sum + length, 0))).toContain(end);
  });

  it('begins each file anew', () => {
    const cutter = new FileCutter(byContent);
    const content = bytes.subarray(0, 2_000_000);
    for (const ends of [[800_000], [], [700_000, 1_500_000]]) {
      const lengths = cutAll(cutter, content, ends, 300_000);
      const cuts = ends.map((end, nth) => end - (ends[nth - 1] ?? 0));
      expect(lengths).toEqual([...cuts, content.length - (ends.at(-1) ?? 0)]);
    }
    expect(cutAll(cutter, new Uint8Array(), [], 10)).toEqual([]);
  });

  it('has another key for each repository', () => {
    expect(recordKeyOf(polynomial)).not.toBe(recordKeyOf(polynomial + 2n));
    expect(recordKeyOf(polynomial)).toBe(recordKeyOf(polynomial));
  });
});
