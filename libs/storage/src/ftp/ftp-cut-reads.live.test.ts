import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { defaultAdapterSettings } from '../remote/adapter-settings.ts';
import type { Storage } from '../storage.ts';
import { type FtpTestServer, startFtpServer } from '../testing/ftp-server.ts';
import { openFtpStorage } from './ftp-storage.ts';

// A restore reads pieces of packs. FTP has no way to say where one ends: the data connection is cut there, which servers answer as they like.
const objectSizeBytes = 64 * 1024 * 1024;
const readCount = 100;

let server: FtpTestServer;
let storage: Storage;
beforeAll(async () => {
  server = await startFtpServer({ program: 'pure-ftpd' });
  storage = await openFtpStorage(server.options({ tls: 'none' }), server.credentials, defaultAdapterSettings);
});
afterAll(async () => {
  await storage.close();
  await server[Symbol.asyncDispose]();
});

it('gives every piece, also when Pure-FTPd loses the question that brings a session back in step', async () => {
  const bytes = randomBytes(objectSizeBytes);
  await storage.put('data/ab/large', bytes);
  for (let nth = 0; nth < readCount; nth++) {
    const [offsetBytes, lengthBytes] = [33_000_001 - nth * 1000, 1_000_003 + nth * 10_000];
    const piece = await storage.get('data/ab/large', { range: { offsetBytes, lengthBytes } });
    expect(Buffer.compare(piece, bytes.subarray(offsetBytes, offsetBytes + lengthBytes))).toBe(0);
  }
});
