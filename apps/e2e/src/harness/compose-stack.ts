import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { createApiClient, type ApiClient } from './api-client.ts';
import { run } from './data-tree.ts';
import { freePort } from './free-port.ts';

/** The services of docker-compose.yml as a project of their own, built from this checkout and reached as a user reaches them. */
export interface ComposeStack {
  readonly api: ApiClient;
  /** Runs a command in the first container of a service; its standard output. */
  exec(service: string, ...command: string[]): Promise<string>;
  /** Copies a folder of this machine into the first container of a service. */
  copyInto(service: string, from: string, to: string): Promise<void>;
  compose(...args: string[]): Promise<string>;
  /** Removes containers and volumes. */
  stop(): Promise<void>;
}

const checkout = join(import.meta.dirname, '../../../..');
const outputLimitBytes = 64 * 1024 * 1024;

export async function startComposeStack(options: { workerCount: number }): Promise<ComposeStack> {
  const port = await freePort();
  const env = {
    ...process.env,
    COMPOSE_PROJECT_NAME: `holdfast-test-${process.pid}`,
    COMPOSE_PROGRESS: 'quiet',
    HOLDFAST_PUBLISH: `127.0.0.1:${port}`,
    HOLDFAST_MASTER_KEY: randomBytes(32).toString('base64'),
    HOLDFAST_JWT_SECRET: randomBytes(32).toString('hex'),
    POSTGRES_PASSWORD: randomBytes(24).toString('hex'),
    HOLDFAST_RATE_LIMIT_PER_MINUTE: '100000',
  };
  const compose = async (...args: string[]): Promise<string> => {
    const { stdout } = await run('docker', ['compose', ...args], { cwd: checkout, env, maxBuffer: outputLimitBytes });
    return stdout.trim();
  };
  const stop = async (): Promise<void> => void (await compose('down', '--volumes', '--timeout', '10'));
  const exec: ComposeStack['exec'] = (service, ...command) => compose('exec', '-T', service, ...command);
  try {
    await compose('up', '--build', '--detach', '--wait', '--scale', `worker=${options.workerCount}`);
    const token = await exec('api', 'holdfast', 'token', '--role', 'admin');
    return {
      api: createApiClient(`http://127.0.0.1:${port}`, token),
      exec,
      copyInto: async (service, from, to) => {
        // Without an index every container of the service gets a copy, at the same time; a volume is shared by all.
        await compose('cp', '--index', '1', from, `${service}:${to}`);
      },
      compose,
      stop,
    };
  } catch (error) {
    const logs = await compose('logs', '--tail', '50').catch(String);
    await stop();
    throw new Error(`the services of docker-compose.yml did not start:\n${logs}`, { cause: error });
  }
}

/** Null when an engine with compose answers, else why there is none. With CI=true that is no error: an engine is not asked for there. */
export async function missingCompose(): Promise<string | null> {
  try {
    await run('docker', ['version', '--format', '{{.Server.Version}}'], { timeout: 10_000 });
    await run('docker', ['compose', 'version'], { timeout: 10_000 });
    return null;
  } catch (error) {
    return `no container engine with compose: ${error instanceof Error ? error.message : String(error)}`;
  }
}
