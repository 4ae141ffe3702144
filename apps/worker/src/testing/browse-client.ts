import { once } from 'node:events';
import { request as httpRequest, type IncomingMessage } from 'node:http';
import { deriveBrowseKey, signRequest } from '@holdfast/jobs/browse/request-signature';
import type { RunningWorker } from '../start-workers.ts';
import type { WorkerFixture } from './worker-fixture.ts';

export type BrowseQuery = Readonly<Record<string, string | readonly string[]>>;

/** Asks a worker as the API does: signed, over a connection of its own. Gives the head of the answer. */
export async function askWorker(
  { config }: WorkerFixture,
  { browseUrl = '' }: RunningWorker,
  path: string,
  query: BrowseQuery,
  method: 'GET' | 'HEAD' = 'GET',
): Promise<IncomingMessage> {
  const pairs = Object.entries(query).flatMap(([name, value]) => [value].flat().map((each) => [name, each]));
  const target = `${path}?${new URLSearchParams(pairs).toString()}`;
  const authorization = signRequest(deriveBrowseKey(config.masterKey.bytes), { method, target }, new Date());
  const asked = httpRequest(new URL(target, browseUrl), { method, headers: { authorization }, agent: false });
  asked.end();
  const [response] = (await once(asked, 'response')) as [IncomingMessage];
  return response;
}

export async function bytesOf(response: IncomingMessage): Promise<Buffer> {
  const parts: Buffer[] = [];
  for await (const part of response) parts.push(part as Buffer);
  return Buffer.concat(parts);
}
