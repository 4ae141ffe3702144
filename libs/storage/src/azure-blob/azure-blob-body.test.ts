import { randomBytes } from 'node:crypto';
import { buffer } from 'node:stream/consumers';
import { describe, expect, it } from 'vitest';
import { bodyOf } from './azure-blob-body.ts';

describe('what is sent', () => {
  it.each([[[]], [[0]], [[1]], [[0, 5, 0, 131_072, 131_073, 9_000_001]], [[4_194_304, 4_194_304]]])(
    'is parts of %j bytes, in order',
    async (sizes) => {
      const parts = sizes.map((sizeBytes) => randomBytes(sizeBytes));
      const whole = Buffer.concat(parts);
      expect(whole.equals(await buffer(bodyOf(parts)))).toBe(true);
    },
  );

  it('goes out in steps, none of them large', async () => {
    const sizes: number[] = [];
    for await (const step of bodyOf([randomBytes(1_000_000), randomBytes(10)])) sizes.push((step as Buffer).byteLength);
    expect(Math.max(...sizes)).toBeLessThanOrEqual(256 * 1024);
  });
});
