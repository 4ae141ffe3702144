import { createHash, randomBytes } from 'node:crypto';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { describe, expect, it } from 'vitest';
import { bodyOf, md5Of, readBody } from './azure-blob-body.ts';

describe('what is sent', () => {
  it.each([[[]], [[0]], [[1]], [[0, 5, 0, 131_072, 131_073, 9_000_001]], [[4_194_304, 4_194_304]]])(
    'is parts of %j bytes, in order, with their hash',
    async (sizes) => {
      const parts = sizes.map((sizeBytes) => randomBytes(sizeBytes));
      const whole = Buffer.concat(parts);
      expect(whole.equals(await buffer(bodyOf(parts)))).toBe(true);
      const md5 = await md5Of(parts, new AbortController().signal);
      expect(Buffer.from(md5).toString('hex')).toBe(createHash('md5').update(whole).digest('hex'));
    },
  );

  it('goes out in steps, none of them large', async () => {
    const sizes: number[] = [];
    for await (const step of bodyOf([randomBytes(1_000_000), randomBytes(10)])) sizes.push((step as Buffer).byteLength);
    expect(Math.max(...sizes)).toBeLessThanOrEqual(256 * 1024);
  });

  it('is hashed no further once it is aborted', async () => {
    const controller = new AbortController();
    const reason = new Error('stop');
    const hashing = md5Of([Buffer.alloc(64 * 1024 * 1024)], controller.signal);
    controller.abort(reason);
    await expect(hashing).rejects.toBe(reason);
  });
});

describe('what is read', () => {
  const stream = (...chunks: string[]): Readable => Readable.from(chunks.map((chunk) => Buffer.from(chunk)));

  it('is as long as was announced', async () => {
    expect(Buffer.from(await readBody(stream('ab', 'c'), 3)).toString()).toBe('abc');
    expect((await readBody(stream(), 0)).byteLength).toBe(0);
    await expect(readBody(stream('ab', 'c'), 2)).rejects.toThrow(RangeError);
    await expect(readBody(stream('ab', 'c'), 4)).rejects.toThrow(RangeError);
  });
});
