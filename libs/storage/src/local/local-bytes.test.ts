import fc from 'fast-check';
import type { FileHandle } from 'node:fs/promises';
import { expect, it } from 'vitest';
import { writeFully } from './local-bytes.ts';

/** A file whose writes take as many bytes as `takes` says, one after the other, and then all. */
function slowFile(takes: number[]) {
  const written: Uint8Array[] = [];
  const calls: Uint8Array[][] = [];
  const handle = {
    writev: async (pieces: Uint8Array[]) => {
      calls.push(pieces);
      const bytes = Buffer.concat(pieces);
      const taken = bytes.subarray(0, Math.min(bytes.length, takes.shift() ?? bytes.length));
      written.push(taken);
      return { bytesWritten: taken.length, buffers: pieces };
    },
  };
  return { handle: handle as unknown as FileHandle, calls, content: () => Buffer.concat(written) };
}

it('writes every part once and in order, however little a call takes', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.uint8Array({ maxLength: 20 })), fc.array(fc.integer({ min: 1, max: 30 })), async (parts, takes) => {
      const file = slowFile(takes);
      await writeFully(file.handle, parts);
      expect(file.content()).toEqual(Buffer.concat(parts));
    }),
  );
});

it('hands over many small parts in one call, and no more than the system takes', async () => {
  const parts = Array.from({ length: 3000 }, (_, nth) => Buffer.of(nth % 256));
  const file = slowFile([]);
  await writeFully(file.handle, parts);
  expect(file.calls.map(({ length }) => length)).toEqual([1024, 1024, 952]);
  expect(file.content()).toEqual(Buffer.concat(parts));
});

it('looks for an abort between pieces of a large part', async () => {
  const file = slowFile([]);
  const abort = new AbortController();
  const body = new Uint8Array(20 * 1024 * 1024);
  const writing = writeFully(file.handle, [body], abort.signal);
  abort.abort(new Error('stop'));
  await expect(writing).rejects.toThrow('stop');
  expect(file.content().length).toBe(8 * 1024 * 1024);
});
