import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { request } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createServer } from 'node:tls';
import { promisify } from 'node:util';
import { isHoldfastError } from '@holdfast/errors/holdfast-error';
import { describe, expect, it, onTestFinished } from 'vitest';
import { openHttpAgents } from './http-agents.ts';

const run = promisify(execFile);
const idleTimeoutMs = 1000;
const bodySizeBytes = 24_000_000;

describe('connections under TLS', () => {
  it('live while a body that was written at once flows out', async () => {
    // A pause after each 16 KiB or so: some four seconds for all of it.
    const server = await openReader((received) => (received < bodySizeBytes ? 2 : 'answer'));
    const startedAtMs = performance.now();
    expect(await put(server)).toBe(200);
    expect(performance.now() - startedAtMs).toBeGreaterThan(2 * idleTimeoutMs);
  });

  it('end when it has stopped flowing', async () => {
    const server = await openReader((received) => (received < 1_000_000 ? 0 : 'stop'));
    const startedAtMs = performance.now();
    await expect(put(server)).rejects.toSatisfy((error) => isHoldfastError(error, 'storage_unreachable'));
    expect(performance.now() - startedAtMs).toBeLessThan(6 * idleTimeoutMs);
  });
});

interface Reader {
  readonly port: number;
  readonly certificate: string;
}

/** Reads what comes, with what `next` says after each piece: a pause in milliseconds, an answer, or no more reading. */
async function openReader(next: (receivedBytes: number) => number | 'answer' | 'stop'): Promise<Reader> {
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-agents-'));
  onTestFinished(() => rm(folder, { recursive: true }));
  const [certificatePath, keyPath] = [join(folder, 'certificate.pem'), join(folder, 'key.pem')];
  const names = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=IP:127.0.0.1'];
  await run('openssl', ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', ...names, '-out', certificatePath, '-keyout', keyPath]);
  const certificate = await readFile(certificatePath, 'utf8');
  const server = createServer({ cert: certificate, key: await readFile(keyPath) }, (socket) => {
    let receivedBytes = 0;
    socket.on('error', () => undefined);
    onTestFinished(() => void socket.destroy());
    socket.on('data', (chunk) => {
      receivedBytes += chunk.length;
      const step = next(receivedBytes);
      if (step === 'answer') socket.end('HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n');
      else socket.pause();
      if (typeof step === 'number') setTimeout(() => socket.resume(), step);
    });
  }).listen(0, '127.0.0.1');
  onTestFinished(() => void server.close());
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('the server has no port');
  return { port: address.port, certificate };
}

async function put({ port, certificate }: Reader): Promise<number | undefined> {
  const agents = openHttpAgents({ maxConnections: 1, idleTimeoutMs, caCertificate: certificate });
  onTestFinished(() => agents.close());
  const sent = request({ host: '127.0.0.1', port, method: 'PUT', agent: agents.https, headers: { 'content-length': bodySizeBytes } });
  sent.end(Buffer.alloc(bodySizeBytes));
  const answer = once(sent, 'response');
  const [response] = (await answer) as [{ statusCode?: number }];
  return response.statusCode;
}
