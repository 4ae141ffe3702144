import { zstdCompressSync, zstdDecompressSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { compressBound, createKeptCompressor, createKeptDecompressor } from './kept-zstd.ts';
import { repeatableBytes } from './testing/repeatable-bytes.ts';

const text = (lines: number): Uint8Array => Buffer.from(Array.from({ length: lines }, (_, nth) => `line ${nth * nth}\n`).join(''));
const inputs = [Buffer.alloc(0), Buffer.from('x'), text(10), text(5000), text(400_000), repeatableBytes(1)(700_000)];

describe.each([false, true])('zstd with a kept context (by public calls: %s)', (usePublic) => {
  it('makes frames that anybody opens, one after the other', () => {
    const compressor = createKeptCompressor(3, { usePublic });
    for (const input of inputs) {
      const to = new Uint8Array(compressBound(input.length) + 10);
      const length = compressor.run(input, 0, input.length, to, 7, compressBound(input.length));
      expect(length).toBeGreaterThan(0);
      expect(Buffer.compare(zstdDecompressSync(to.subarray(7, 7 + length)), input)).toBe(0);
    }
  });

  it('looks for matches in the way that is asked for', () => {
    const lines = text(30_000);
    const lengthAt = (tableLog: number, minMatch: number): number => {
      const to = new Uint8Array(compressBound(lines.length));
      const length = createKeptCompressor(3, { usePublic, search: { tableLog, minMatch } }).run(lines, 0, lines.length, to, 0, to.length);
      expect(Buffer.compare(zstdDecompressSync(to.subarray(0, length)), lines)).toBe(0);
      return length;
    };
    expect(new Set([lengthAt(10, 7), lengthAt(16, 5), lengthAt(16, 7)]).size).toBe(3);
  });

  it('opens frames, and says when one is damaged or too long', () => {
    const decompressor = createKeptDecompressor({ usePublic });
    for (const input of inputs) {
      const frame = zstdCompressSync(input);
      const to = new Uint8Array(input.length + 1);
      expect(decompressor.run(frame, 0, frame.length, to, 0, to.length)).toBe(input.length);
      expect(Buffer.compare(to.subarray(0, input.length), input)).toBe(0);
      if (input.length > 1) expect(decompressor.run(frame, 0, frame.length, to, 0, input.length - 1)).toBe(-1);
      frame[0] = 0;
      expect(decompressor.run(frame, 0, frame.length, to, 0, to.length)).toBe(-1);
    }
    const cut = zstdCompressSync(text(5000)).subarray(0, -3);
    const whole = new Uint8Array(200_000);
    const length = decompressor.run(cut, 0, cut.length, whole, 0, whole.length);
    expect(length).not.toBe(text(5000).length);
  });

  it('says when there is no room for the frame', () => {
    const noise = repeatableBytes(2)(10_000);
    const compressor = createKeptCompressor(3, { usePublic });
    expect(compressor.run(noise, 0, noise.length, new Uint8Array(20_000), 0, 5000)).toBe(-1);
    const to = new Uint8Array(20_000);
    const length = compressor.run(noise, 0, noise.length, to, 0, to.length);
    expect(Buffer.compare(zstdDecompressSync(to.subarray(0, length)), noise)).toBe(0);
  });
});

it('the kept context is what this Node has', () => {
  const handle: unknown = Reflect.get(createKeptCompressor(1), 'run');
  expect(String(handle)).toContain('reset');
});
