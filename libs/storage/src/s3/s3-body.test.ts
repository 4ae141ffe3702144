import { createHash, randomBytes } from 'node:crypto';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { bounded, readS3Body } from './s3-body.ts';

describe('the body of a put', () => {
  it('is all parts in order, with their hashes, each time that it is opened', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.uint8Array({ maxLength: 50 })), async (parts) => {
        const whole = Buffer.concat(parts);
        const body = await readS3Body(parts, { needsMd5: true }, undefined);
        expect(body.lengthBytes).toBe(whole.byteLength);
        expect(body.sha256).toBe(createHash('sha256').update(whole).digest('hex'));
        expect(body.md5).toBe(createHash('md5').update(whole).digest('base64'));
        expect(await readS3Body(parts, { needsMd5: false, sha256: 'known' }, undefined)).toMatchObject({ sha256: 'known', md5: undefined });
        for (let count = 0; count < 2; count += 1) expect((await buffer(body.open())).equals(whole)).toBe(true);
      }),
    );
  });

  it('knows when all of it is handed over', async () => {
    const body = await readS3Body([randomBytes(300_000), randomBytes(1)], { needsMd5: false }, undefined);
    expect(body.isHandedOver()).toBe(false);
    const stream = body.open();
    stream.read();
    expect(body.isHandedOver()).toBe(false);
    await buffer(stream);
    expect(body.isHandedOver()).toBe(true);
    body.open();
    expect(body.isHandedOver()).toBe(false);
  });

  it('hands over views of what it was given', async () => {
    const part = randomBytes(1000);
    const body = await readS3Body([part], { needsMd5: false }, undefined);
    const chunk: unknown = body.open().read();
    expect(Buffer.isBuffer(chunk) && chunk.buffer === part.buffer).toBe(true);
  });
});

describe('the body of an answer', () => {
  const stream = (...chunks: string[]): Readable => Readable.from(chunks.map((chunk) => Buffer.from(chunk)));

  it('is cut off at a limit', async () => {
    expect((await buffer(bounded(stream('abc', 'd'), 4))).toString()).toBe('abcd');
    const source = stream('abc', 'de');
    await expect(buffer(bounded(source, 4))).rejects.toThrow('larger than 4 bytes');
    expect(source.destroyed).toBe(true);
  });
});
