import { createHash, randomBytes } from 'node:crypto';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { bounded, readExactly, readS3Body } from './s3-body.ts';

describe('the body of a put', () => {
  it('is all parts in order, with their hashes, each time that it is opened', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.uint8Array({ maxLength: 50 })), async (parts) => {
        const whole = Buffer.concat(parts);
        const body = await readS3Body(parts, undefined);
        expect(body.lengthBytes).toBe(whole.byteLength);
        expect(body.sha256).toBe(createHash('sha256').update(whole).digest('hex'));
        expect(body.md5).toBe(createHash('md5').update(whole).digest('base64'));
        for (let count = 0; count < 2; count += 1) expect((await buffer(body.open())).equals(whole)).toBe(true);
      }),
    );
  });

  it('knows when all of it is handed over', async () => {
    const body = await readS3Body([randomBytes(300_000), randomBytes(1)], undefined);
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
    const body = await readS3Body([part], undefined);
    const chunk: unknown = body.open().read();
    expect(Buffer.isBuffer(chunk) && chunk.buffer === part.buffer).toBe(true);
  });

  it('ends hashing that is aborted', async () => {
    const controller = new AbortController();
    const hashing = readS3Body([Buffer.alloc(20 * 1024 * 1024)], controller.signal);
    controller.abort(new Error('stop'));
    await expect(hashing).rejects.toThrow('stop');
  });
});

describe('the body of an answer', () => {
  const stream = (...chunks: string[]): Readable => Readable.from(chunks.map((chunk) => Buffer.from(chunk)));

  it('is read when it has the length that was said, into an array of its own', async () => {
    const bytes = await readExactly(stream('ab', '', 'c'), 3);
    expect(Buffer.from(bytes ?? []).toString()).toBe('abc');
    expect(bytes?.buffer.byteLength).toBe(3);
    expect((await readExactly(stream(), 0))?.byteLength).toBe(0);
  });

  it('is nothing when it is shorter or longer, and its stream is ended', async () => {
    for (const lengthBytes of [0, 2, 4]) {
      const source = stream('ab', 'c');
      expect(await readExactly(source, lengthBytes)).toBeUndefined();
      expect(source.destroyed).toBe(true);
    }
  });

  it('is cut off at a limit', async () => {
    expect((await buffer(bounded(stream('abc', 'd'), 4))).toString()).toBe('abcd');
    const source = stream('abc', 'de');
    await expect(buffer(bounded(source, 4))).rejects.toThrow('larger than 4 bytes');
    expect(source.destroyed).toBe(true);
  });
});
