import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { CopyFrames } from './copy-frames.ts';

interface Message {
  readonly type: string;
  readonly content: Uint8Array;
}

const key = 0x1234_5678_9abc_def0n;
const mebi = 1024 * 1024;

function encode({ type, content }: Message): Buffer {
  const header = Buffer.alloc(5);
  header.write(type, 'latin1');
  header.writeUInt32BE(content.length + 4, 1);
  return Buffer.concat([header, content]);
}

/** Pushes a stream in parts of these lengths, in turn, and takes rows whenever there are enough, or each time. */
function run(stream: Uint8Array, lengths: readonly number[], { takesEach = false, recordKey = key } = {}) {
  const data: Buffer[] = [];
  const other: Buffer[] = [];
  const ends: number[] = [];
  let positionBytes = 0;
  const frames = new CopyFrames({ onOther: (bytes) => other.push(bytes) });
  const take = (): void => {
    const rows = frames.takeRows();
    if (rows === null) return;
    data.push(Buffer.from(rows.bytes));
    for (const end of rows.chosenEnds) ends.push(positionBytes + end);
    positionBytes += rows.bytes.length;
  };
  frames.beginRows(recordKey);
  for (let at = 0, nth = 0; at < stream.length; nth++) {
    const part = stream.subarray(at, at + Math.min(lengths[nth % lengths.length] ?? 1, frames.room.length));
    frames.room.set(part);
    frames.push(part.length);
    if (takesEach || frames.isFull) take();
    at += part.length;
  }
  take();
  return { data: Buffer.concat(data), other: Buffer.concat(other), ends };
}

/** Bytes that look like nothing, the same in every run. */
function noise(length: number, seed: number): Uint8Array {
  const bytes = new Uint8Array(length);
  for (let at = 0, state = seed; at < length; at++) {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    bytes[at] = state >>> 24;
  }
  return bytes;
}

const rowsOf = (count: number, sizeBytes: number, seed: number): Message[] =>
  Array.from({ length: count }, (_, nth) => ({ type: 'd', content: noise(sizeBytes, seed + nth * 7919) }));

test('data and the rest come out whole, however the stream is cut', () => {
  const message = fc.record({ type: fc.constantFrom('d', 'd', 'd', 'N', 'c', 'Z'), content: fc.uint8Array({ maxLength: 200 }) });
  const lengths = fc.array(fc.integer({ min: 1, max: 300 }), { minLength: 1 });
  fc.assert(
    fc.property(fc.array(message, { maxLength: 30 }), lengths, fc.boolean(), (messages, parts, takesEach) => {
      const { data, other } = run(Buffer.concat(messages.map(encode)), parts, { takesEach });
      expect(data).toEqual(Buffer.concat(messages.filter(({ type }) => type === 'd').map(({ content }) => content)));
      expect(other).toEqual(Buffer.concat(messages.filter(({ type }) => type !== 'd').map(encode)));
    }),
  );
});

test('rows of every length around words, and long ones between short ones', () => {
  const sizes = [...Array.from({ length: 100 }, (_, size) => size), 32_767, 32_768, 32_769, 0, 700_000, 1, 3_000_000, 40];
  const messages = sizes.map((size, nth) => ({ type: 'd', content: noise(size, nth + 1) }));
  const expected = Buffer.concat(messages.map(({ content }) => content));
  const stream = Buffer.concat([...messages, { type: 'c', content: new Uint8Array() }].map(encode));
  for (const length of [4_000, 65_536, 256 * 1024]) {
    const { data, other } = run(stream, [length]);
    expect(data.equals(expected)).toBe(true);
    expect(other).toEqual(Buffer.from('c\0\0\0\x04'));
  }
});

test('rows that nobody wants are dropped', () => {
  const other: Buffer[] = [];
  const frames = new CopyFrames({ onOther: (bytes) => other.push(bytes) });
  const stream = Buffer.concat(
    [
      { type: 'd', content: noise(100_000, 1) },
      { type: 'Z', content: Buffer.from('I') },
    ].map(encode),
  );
  for (let nth = 0; nth < 20; nth++) {
    frames.room.set(stream);
    frames.push(stream.length);
  }
  expect(frames.takeRows()).toBeNull();
  expect(Buffer.concat(other).toString('latin1')).toBe('Z\0\0\0\x05I'.repeat(20));
});

test.each(['d', 'N'])('a message %s without a length is an error', (type) => {
  const frames = new CopyFrames({ onOther: () => {} });
  const stream = Buffer.from(`${type}\0\0\0\x03rest`);
  frames.room.set(stream);
  expect(() => frames.push(stream.length)).toThrow(expect.objectContaining({ code: 'postgresql_stream_damaged' }));
});

describe('ends that are chosen', () => {
  const messages = rowsOf(60_000, 500, 1);
  const stream = Buffer.concat(messages.map(encode));
  const { ends, data } = run(stream, [256 * 1024]);

  test('are ends of rows, a mebibyte from each other on average, whatever the length of a row', () => {
    expect(ends.every((end) => end % 500 === 0)).toBe(true);
    for (const sizeBytes of [20, 500, 9_000, 100_000]) {
      const count = Math.floor((30 * mebi) / sizeBytes);
      const found = run(Buffer.concat(rowsOf(count, sizeBytes, 3).map(encode)), [200_000]).ends.length;
      // 30 are expected, give or take 6 in two of three cases.
      expect(found).toBeGreaterThan(9);
      expect(found).toBeLessThan(60);
    }
  });

  test('are the same however the stream is cut', () => {
    for (const parts of [[7_777], [100_000, 1, 3, 50_000]]) expect(run(stream, parts, { takesEach: true }).ends).toEqual(ends);
  });

  test('are the same rows when others come before them and between them', () => {
    const inserted = [...rowsOf(3, 77, 5), ...messages.slice(0, 30_000), ...rowsOf(1, 200, 6), ...messages.slice(30_000)];
    const shifted = run(Buffer.concat(inserted.map(encode)), [256 * 1024]);
    const textBefore = (bytes: Buffer, end: number): string => bytes.toString('latin1', end - 500, end);
    expect(shifted.ends.map((end) => textBefore(shifted.data, end))).toEqual(ends.map((end) => textBefore(data, end)));
  });

  test('are others with another key', () => {
    const others = run(stream, [256 * 1024], { recordKey: key + 1n }).ends;
    expect(others.filter((end) => ends.includes(end)).length).toBeLessThan(ends.length / 2);
  });

  test('every byte of a row counts', () => {
    // Of rows of this length one in 35 is chosen: of 256 that differ in one byte, some are and some are not.
    const size = 30_001;
    const row = noise(size, 9);
    for (const at of [0, 7, 8, 31, 32, 63, 64, size - 34, size - 33, size - 9, size - 8, size - 1]) {
      const changed = Array.from({ length: 256 }, (_, value) => Uint8Array.from(row).fill(value, at, at + 1));
      const { ends: found } = run(Buffer.concat(changed.map((content) => encode({ type: 'd', content }))), [256 * 1024]);
      expect([at, found.length > 0 && found.length < 100]).toEqual([at, true]);
    }
  });

  test('keep a distance where the same row comes over and over', () => {
    const [end = 0] = ends;
    const chosen = messages[end / 500 - 1] ?? { type: 'd', content: new Uint8Array() };
    const same = run(Buffer.concat(Array.from({ length: 20_000 }, () => encode(chosen))), [256 * 1024]).ends;
    expect(same).toEqual(Array.from({ length: Math.ceil(20_000 / 3) }, (_, nth) => 500 + nth * 1500));
  });
});
