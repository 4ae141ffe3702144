import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type RunningProcess, startProgram } from './child-process.ts';
import { engineAnswers, killContainer } from './container-engine.ts';
import { eventually } from './eventually.ts';
import { freePort } from './free-port.ts';

/** A Redis for tests: the one that HOLDFAST_TEST_REDIS_URL names, else a container, else the `redis-server` of this machine. */
export interface RedisServer extends AsyncDisposable {
  readonly url: string;
  readonly origin: 'given' | 'container' | 'local';
  /** Removes every key. */
  flushAll(): Promise<void>;
  /** SIGKILL. A server that was given cannot be killed: throws. */
  kill(): Promise<void>;
  /** Starts it again after `kill`, empty, at the same address. */
  start(): Promise<void>;
  /** Ends it for good; a server that was given stays. */
  stop(): Promise<void>;
}

/** A container is up in about two seconds; the rest is for pulling the image. */
const containerStartLimitMs = 90_000;
const localStartLimitMs = 10_000;
const commandLimitMs = 5_000;
/** As docker-compose.yml runs it, but without a file: queues must not lose keys to memory pressure. */
const image = 'redis:8';
const serverOptions = ['--maxmemory-policy', 'noeviction', '--save', ''];

/**
 * Starts a Redis, or gives undefined when this machine has no way to one, and says so: tests that need it are then skipped.
 * With CI=true that is an error, because there a skipped test would look like a passed one.
 */
export async function startRedisServer(): Promise<RedisServer | undefined> {
  const givenUrl = process.env['HOLDFAST_TEST_REDIS_URL'];
  if (givenUrl !== undefined && givenUrl !== '') return givenServer(givenUrl);
  const reasons: string[] = [];
  for (const start of [startContainer, startLocal]) {
    try {
      return await start();
    } catch (error) {
      reasons.push(error instanceof Error ? error.message : String(error));
    }
  }
  const missing = `no Redis for tests: HOLDFAST_TEST_REDIS_URL is not set; ${reasons.join('; ')}`;
  if (process.env['CI'] === 'true') throw new Error(missing);
  console.warn(missing);
  return undefined;
}

function givenServer(url: string): RedisServer {
  const refuse = (): Promise<never> => Promise.reject(new Error('the Redis of HOLDFAST_TEST_REDIS_URL is not ours to end'));
  return server(url, 'given', { kill: refuse, start: refuse, stop: async () => {} });
}

async function startContainer(): Promise<RedisServer> {
  if (!(await engineAnswers())) throw new Error('no container engine answers');
  // Loaded only now: it takes most of a second.
  const { GenericContainer, Wait } = await import('testcontainers');
  const port = await freePort(); // a random one would change at a restart
  const container = await new GenericContainer(image)
    .withCommand(['redis-server', ...serverOptions])
    .withExposedPorts({ container: 6379, host: port })
    .withWaitStrategy(Wait.forLogMessage(/Ready to accept connections/u))
    .withStartupTimeout(containerStartLimitMs)
    .start();
  const url = `redis://${container.getHost()}:${port}`;
  const kill = (): Promise<void> => killContainer(container.getId());
  const stop = async (): Promise<void> => void (await container.stop());
  return server(url, 'container', { kill, start: () => container.restart(), stop });
}

async function startLocal(): Promise<RedisServer> {
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-redis-'));
  const port = await freePort();
  const url = `redis://127.0.0.1:${port}`;
  let process: RunningProcess | undefined;
  const kill = async (): Promise<void> => void (await process?.end('SIGKILL'));
  const start = async (): Promise<void> => {
    process = startProgram('redis-server', 'redis-server', [
      '--port',
      String(port),
      '--bind',
      '127.0.0.1',
      '--dir',
      folder,
      ...serverOptions,
    ]);
    const output = (): string => process?.output() ?? '';
    await eventually('redis-server answers', () => answersPing(url), localStartLimitMs, output);
  };
  const stop = async (): Promise<void> => {
    await kill();
    await rm(folder, { recursive: true, force: true });
  };
  try {
    await start();
    return server(url, 'local', { kill, start, stop });
  } catch (error) {
    await stop();
    throw error;
  }
}

function server(url: string, origin: RedisServer['origin'], actions: Pick<RedisServer, 'kill' | 'start' | 'stop'>): RedisServer {
  const flushAll = async (): Promise<void> => {
    const answer = await say(url, 'FLUSHALL');
    if (answer !== '+OK') throw new Error(`FLUSHALL answered ${answer}`);
  };
  return { url, origin, flushAll, ...actions, [Symbol.asyncDispose]: actions.stop };
}

async function answersPing(url: string): Promise<true | undefined> {
  try {
    return (await say(url, 'PING')) === '+PONG' ? true : undefined;
  } catch {
    return undefined; // not up yet: asked again
  }
}

/** One command without arguments, and the first line of the answer; Redis reads it as a person would type it. */
async function say(url: string, command: string): Promise<string> {
  const { hostname, port } = new URL(url);
  const socket = connect(Number(port || '6379'), hostname).setEncoding('utf8');
  try {
    socket.write(`${command}\r\n`);
    const answer = once(socket, 'data', { signal: AbortSignal.timeout(commandLimitMs) });
    const [line] = (await answer) as [string];
    return line.trim();
  } finally {
    socket.destroy();
  }
}
