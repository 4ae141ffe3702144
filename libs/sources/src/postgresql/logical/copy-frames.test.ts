import fc from 'fast-check';
import { expect, test } from 'vitest';
import { CopyFrames } from './copy-frames.ts';

const message = fc.record({ type: fc.constantFrom('d', 'd', 'd', 'N', 'c', 'Z'), content: fc.uint8Array({ maxLength: 200 }) });

function encode({ type, content }: { type: string; content: Uint8Array }): Buffer {
  const header = Buffer.alloc(5);
  header.write(type, 'latin1');
  header.writeUInt32BE(content.length + 4, 1);
  return Buffer.concat([header, content]);
}

test('data and the rest come out whole, however the stream is cut', () => {
  fc.assert(
    fc.property(fc.array(message, { maxLength: 30 }), fc.array(fc.integer({ min: 1, max: 300 }), { minLength: 1 }), (messages, cuts) => {
      const stream = Buffer.concat(messages.map(encode));
      const data: Buffer[] = [];
      const other: Buffer[] = [];
      const frames = new CopyFrames({
        onData: (bytes) => data.push(Buffer.from(bytes)),
        onOther: (bytes) => other.push(Buffer.from(bytes)),
      });
      for (let at = 0, cut = 0; at < stream.length; cut++) {
        const length = cuts[cut % cuts.length] ?? 1;
        frames.push(Buffer.from(stream.subarray(at, at + length)));
        at += length;
      }
      expect(Buffer.concat(data)).toEqual(Buffer.concat(messages.filter(({ type }) => type === 'd').map(({ content }) => content)));
      expect(Buffer.concat(other)).toEqual(Buffer.concat(messages.filter(({ type }) => type !== 'd').map(encode)));
    }),
  );
});
