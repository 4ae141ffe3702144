import { createHash, randomBytes } from 'node:crypto';
import { createServer, get, type IncomingMessage } from 'node:http';
import { once } from 'node:events';
import { Readable } from 'node:stream';
import { describe, expect, it } from 'vitest';
import { hashOfParts, lengthOf, pieces, readExactly } from './body.ts';

describe('the parts of a body', () => {
  it.each([[[]], [[0]], [[1]], [[0, 5, 0, 131_072, 131_073, 9_000_001]], [[4_194_304, 4_194_304]]])(
    'of %j bytes are cut in order, without a copy, and hashed as one',
    async (sizes) => {
      const parts = sizes.map((sizeBytes) => randomBytes(sizeBytes));
      const whole = Buffer.concat(parts);
      const cut = [...pieces(parts, 100_000)];
      expect(Buffer.concat(cut).equals(whole)).toBe(true);
      expect(cut.every((piece) => piece.byteLength <= 100_000 && parts.some((part) => part.buffer === piece.buffer))).toBe(true);
      expect(lengthOf(parts)).toBe(whole.byteLength);
      for (const algorithm of ['md5', 'sha256'] as const) {
        expect((await hashOfParts(algorithm, parts, undefined)).equals(createHash(algorithm).update(whole).digest())).toBe(true);
      }
    },
  );

  it('are hashed no further once that is aborted', async () => {
    const controller = new AbortController();
    const reason = new Error('stop');
    const hashing = hashOfParts('md5', [Buffer.alloc(64 * 1024 * 1024)], controller.signal);
    controller.abort(reason);
    await expect(hashing).rejects.toBe(reason);
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

  it('is an error when its stream fails, has failed, or its connection is cut in the middle', async () => {
    const failing = new Readable({ read: () => failing.destroy(new Error('broke')) });
    await expect(readExactly(failing, 3)).rejects.toThrow('broke');
    await expect(readExactly(failing, 3)).rejects.toThrow('broke');

    const server = createServer((_, response) => {
      response.writeHead(200, { 'content-length': '10' });
      response.write('half', () => response.destroy());
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const address = server.address();
    if (typeof address !== 'object' || address === null) throw new Error('no port');
    const request = get({ host: '127.0.0.1', port: address.port });
    const [answer] = (await once(request, 'response')) as [IncomingMessage];
    await expect(readExactly(answer, 10)).rejects.toThrow('aborted');
    server.close();
  });
});
