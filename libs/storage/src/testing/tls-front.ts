import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createServer, type TLSSocket } from 'node:tls';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** TLS before a server that speaks without: what comes in is passed on to it as it is, with a certificate of an authority of its own. */
export interface TlsFront extends AsyncDisposable {
  readonly port: number;
  /** Of the authority, in PEM; also as a file, for programs. */
  readonly caCertificate: string;
  readonly caCertificatePath: string;
}

export async function openTlsFront(target: { readonly port: number }): Promise<TlsFront> {
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-tls-'));
  const { certificate, key, caCertificatePath } = await makeCertificates(folder);
  const open = new Set<TLSSocket>();
  const listener = createServer({ cert: certificate, key }, (client) => {
    const server = connect(target.port, '127.0.0.1');
    open.add(client);
    client.setNoDelay();
    server.setNoDelay();
    // Each side hears of the other's end, and of nothing else.
    client.on('error', () => undefined);
    server.on('error', () => undefined);
    client.on('close', () => {
      open.delete(client);
      server.destroy();
    });
    server.on('close', () => client.destroy());
    client.pipe(server).pipe(client);
  });
  listener.on('tlsClientError', () => undefined);
  listener.listen(0, '127.0.0.1');
  await once(listener, 'listening');
  const address = listener.address();
  if (address === null || typeof address === 'string') throw new Error('the front has no port');
  return {
    port: address.port,
    caCertificate: await readFile(caCertificatePath, 'utf8'),
    caCertificatePath,
    async [Symbol.asyncDispose]() {
      const closed = once(listener, 'close');
      listener.close();
      for (const client of open) client.destroy();
      await closed;
      await rm(folder, { recursive: true });
    },
  };
}

/** An authority, and a certificate of it for 127.0.0.1. */
async function makeCertificates(folder: string): Promise<{ certificate: string; key: string; caCertificatePath: string }> {
  const path = (name: string): string => join(folder, name);
  const request = (name: string, subject: string, ...more: string[]) => {
    const kind = ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2'];
    return run('openssl', [...kind, '-subj', subject, '-keyout', path(`${name}.key`), '-out', path(`${name}.pem`), ...more]);
  };
  await request('ca', '/CN=Test authority');
  const leaf = ['-addext', 'subjectAltName=IP:127.0.0.1', '-addext', 'basicConstraints=critical,CA:FALSE'];
  await request('server', '/CN=Test server', '-CA', path('ca.pem'), '-CAkey', path('ca.key'), ...leaf);
  const [certificate, key] = await Promise.all([readFile(path('server.pem'), 'utf8'), readFile(path('server.key'), 'utf8')]);
  return { certificate, key, caCertificatePath: path('ca.pem') };
}
