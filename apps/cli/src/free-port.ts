import { createServer } from 'node:net';
import { once } from 'node:events';
import { errnoCode } from '@holdfast/errors/errno-code';
import { HoldfastError } from '@holdfast/errors/holdfast-error';

/** What the API listens on when nobody says otherwise. */
export const usualPort = 8080;

/**
 * The port to give to the API: the one that was asked for, which must be free; else the usual one, or when another program has it
 * a free one. 0 asks for a free one. Codes: configuration_invalid.
 */
export async function choosePort(host: string, asked: number | undefined): Promise<number> {
  if (asked === 0) return await freePort(host);
  const port = asked ?? usualPort;
  if (await isFree(host, port)) return port;
  if (asked === undefined) return await freePort(host);
  throw new HoldfastError('configuration_invalid', `port ${port} of ${host} is in use by another program`, {
    hint: 'choose another with --port or HOLDFAST_API_PORT; 0 takes a free one',
  });
}

async function isFree(host: string, port: number): Promise<boolean> {
  try {
    await listenOnce(host, port);
    return true;
  } catch (error) {
    if (errnoCode(error) === 'EADDRINUSE') return false;
    throw new HoldfastError('configuration_invalid', `cannot listen on port ${port} of ${host} (${errnoCode(error) ?? 'unknown'})`, {
      hint: 'choose another host with HOLDFAST_API_HOST or port with --port',
      cause: error,
    });
  }
}

function freePort(host: string): Promise<number> {
  return listenOnce(host, 0);
}

async function listenOnce(host: string, port: number): Promise<number> {
  const server = createServer().listen(port, host);
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  return typeof address === 'object' && address !== null ? address.port : port;
}
