import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createApiClient, signToken, type ApiClient } from './api-client.ts';
import { startNode, type RunningProcess } from './child-process.ts';
import { eventually } from './eventually.ts';

/** `holdfast` as an operator runs it, in a process of its own. */
export interface HoldfastCommands {
  /** `holdfast ...words` with these settings and no others. */
  start(words: readonly string[], environment?: Readonly<Record<string, string>>): RunningProcess;
  /** Starts `holdfast up` on a state folder, at a free port and with one worker, and waits for it. Gives an admin's client too. */
  up(stateFolder: string, environment: Readonly<Record<string, string>>): Promise<{ process: RunningProcess; api: ApiClient }>;
  /** Kills what still runs. */
  end(): Promise<void>;
}

const cli = join(import.meta.dirname, '../../../cli/src/main.ts');
/** A start makes a cluster of PostgreSQL, and a loaded machine takes its time over it. */
const waitMs = 120_000;

export function openHoldfastCommands(): HoldfastCommands {
  const started: RunningProcess[] = [];
  const start: HoldfastCommands['start'] = (words, environment = {}) => {
    const process = startNode(words[0] ?? '', cli, { ...environment, NO_COLOR: '1' }, words);
    started.push(process);
    return process;
  };
  return {
    start,
    async up(stateFolder, environment) {
      const process = start(['up', '--no-tour', '--port', '0', '--workers', '1'], { HOLDFAST_STATE_DIR: stateFolder, ...environment });
      await untilSo(process, 'the service is up', () => process.output().includes('Holdfast is up') || process.exited());
      if (process.exited()) throw new Error(`up ended at its start:\n${process.output()}`);
      const { apiUrl } = JSON.parse(await readFile(join(stateFolder, 'up.lock'), 'utf8')) as { apiUrl: string };
      const secret = (await readFile(join(stateFolder, 'jwt-secret'), 'utf8')).trim();
      return { process, api: createApiClient(apiUrl, signToken(secret, { sub: 'e2e', role: 'admin', entities: '*' })) };
    },
    async end() {
      for (const process of started) await process.end('SIGKILL');
    },
  };
}

/** Waits until something is so of a process; a failure shows its output. */
export async function untilSo(process: RunningProcess, what: string, isSo: () => boolean): Promise<void> {
  await eventually(
    what,
    () => Promise.resolve(isSo() || undefined),
    waitMs,
    () => process.output(),
  );
}

/** The exit code of a process that ends by itself. */
export async function exitOf(process: RunningProcess): Promise<number | null> {
  await untilSo(process, `${process.name} ends`, () => process.exited());
  return await process.end('SIGTERM');
}
