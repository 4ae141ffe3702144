import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { engineAnswers, killContainer } from './container-engine.ts';

/**
 * A Redis for tests: the one that HOLDFAST_TEST_REDIS_URL names, else a container, else the `redis-server` of this machine, on a free
 * port of 127.0.0.1. One that was started may be killed, and comes back empty at the same address.
 */
export interface TestRedis extends AsyncDisposable {
  readonly url: string;
  readonly origin: Origin;
  /** Removes every key. */
  flushAll(): Promise<void>;
  /** SIGKILL. Rejects for a server that was given. */
  kill(): Promise<void>;
  start(): Promise<void>;
}

type Origin = 'given' | 'container' | 'local';

/** A container is up in about a second; the rest is for pulling the image. */
const containerStartLimitMs = 90_000;
const localStartLimitMs = 10_000;
const commandLimitMs = 5_000;
const pollMs = 20;
/** As docker-compose.yml runs it, but with nothing written: queues must not lose keys to memory pressure. */
const image = 'redis:8';
const serverOptions = ['--maxmemory-policy', 'noeviction', '--save', '', '--appendonly', 'no'];

/** Null when there is a way to a Redis, else why Redis cannot be tested here. With CI=true that is an error: nothing is left out there. */
export async function missingRedis(): Promise<string | null> {
  if ((await waysToRedis()).length > 0) return null;
  const reason = 'no Redis: HOLDFAST_TEST_REDIS_URL is not set, no container engine answers, and redis-server is not on the PATH';
  if (process.env['CI'] === 'true') throw new Error(reason);
  return reason;
}

/** Takes the first way that works. Rejects with what each of them said when none does. */
export async function startTestRedis(): Promise<TestRedis> {
  const start = { given: givenServer, container: startContainer, local: startLocal };
  const errors: unknown[] = [];
  for (const way of await waysToRedis()) {
    try {
      return await start[way]();
    } catch (error) {
      errors.push(error);
    }
  }
  throw new AggregateError(errors, `no Redis could be started: ${errors.map(String).join('; ') || (await missingRedis())}`);
}

async function waysToRedis(): Promise<Origin[]> {
  if (process.env['HOLDFAST_TEST_REDIS_URL']) return ['given'];
  const ways: Origin[] = [];
  if (await engineAnswers()) ways.push('container');
  if (spawnSync('redis-server', ['--version']).status === 0) ways.push('local');
  return ways;
}

async function givenServer(): Promise<TestRedis> {
  const refuse = (): Promise<never> => Promise.reject(new Error('the Redis of HOLDFAST_TEST_REDIS_URL is not ours to kill'));
  const url = process.env['HOLDFAST_TEST_REDIS_URL'] ?? '';
  await say(url, 'PING');
  return testRedis(url, 'given', { kill: refuse, start: refuse, end: async () => {} });
}

async function startContainer(): Promise<TestRedis> {
  // Loaded only now: it takes most of a second.
  const { GenericContainer, Wait } = await import('testcontainers');
  const port = await freePort(); // a random one would change at a restart
  const container = await new GenericContainer(image)
    .withCommand(['redis-server', ...serverOptions])
    .withExposedPorts({ container: 6379, host: port })
    .withWaitStrategy(Wait.forLogMessage(/Ready to accept connections/u))
    .withStartupTimeout(containerStartLimitMs)
    .start();
  return testRedis(`redis://${container.getHost()}:${port}`, 'container', {
    kill: () => killContainer(container.getId()),
    start: () => container.restart(),
    end: async () => void (await container.stop()),
  });
}

async function startLocal(): Promise<TestRedis> {
  const port = await freePort();
  const url = `redis://127.0.0.1:${port}`;
  let child: ChildProcess | undefined;
  const kill = async (): Promise<void> => {
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, 'exit');
    child.kill('SIGKILL');
    await ended;
  };
  const start = async (): Promise<void> => {
    child = spawn('redis-server', ['--port', String(port), '--bind', '127.0.0.1', ...serverOptions], { stdio: 'ignore' });
    await untilAnswering(url);
  };
  // A test process that ends early takes it along.
  process.once('exit', () => child?.kill('SIGKILL'));
  try {
    await start();
  } catch (error) {
    await kill();
    throw error;
  }
  return testRedis(url, 'local', { kill, start, end: kill });
}

type Actions = Readonly<Record<'kill' | 'start' | 'end', () => Promise<void>>>;

function testRedis(url: string, origin: Origin, { kill, start, end }: Actions): TestRedis {
  return { url, origin, flushAll: () => say(url, 'FLUSHALL'), kill, start, [Symbol.asyncDispose]: end };
}

async function untilAnswering(url: string): Promise<void> {
  const giveUpAtMs = performance.now() + localStartLimitMs;
  for (;;) {
    try {
      await say(url, 'PING');
      return;
    } catch (error) {
      if (performance.now() > giveUpAtMs) throw error;
      await delay(pollMs);
    }
  }
}

/** One command without arguments, as a person would type it; rejects unless the answer is a simple string (`+OK`, `+PONG`). */
async function say(url: string, command: string): Promise<void> {
  const { hostname, port } = new URL(url);
  const socket = connect(Number(port || '6379'), hostname).setEncoding('utf8');
  try {
    socket.write(`${command}\r\n`);
    const [answer]: unknown[] = await once(socket, 'data', { signal: AbortSignal.timeout(commandLimitMs) });
    if (!String(answer).startsWith('+')) throw new Error(`Redis at ${hostname}:${port} answered ${String(answer).trim()} to ${command}`);
  } finally {
    socket.destroy();
  }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port was given');
  server.close();
  await once(server, 'close');
  return address.port;
}
