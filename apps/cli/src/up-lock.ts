import { linkSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { errnoCode } from '@holdfast/errors/errno-code';
import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { invariant } from '@holdfast/errors/invariant';
import { z } from 'zod';
import { identifyProcess, isSameProcessAlive, processIdentitySchema, type ProcessIdentity } from './process-identity.ts';

/**
 * `.holdfast/up.lock`, JSON: the process of `up`, its children, and where they answer. It keeps a second `up` away from the same
 * folder, tells the other commands where to connect, and tells the next `up` what a killed one left running.
 */
const upStateSchema = z.object({
  ...processIdentitySchema.shape,
  children: z.array(processIdentitySchema),
  apiUrl: z.string().optional(),
  databaseUrl: z.string().optional(),
});
export type UpState = z.infer<typeof upStateSchema>;

export interface UpLock {
  /** Replaces what the file says besides the process itself. */
  update(change: Partial<Pick<UpState, 'children' | 'apiUrl' | 'databaseUrl'>>): void;
  release(): void;
}

/** Children end by themselves when their `up` dies; this is how long they may take before they are killed. */
const orphanWaitMs = 10_000;
const orphanPollMs = 100;
/** Two that start at once over a stale lock settle it in one or two rounds. */
const maxTries = 20;

const lockPath = (stateFolder: string): string => join(stateFolder, 'up.lock');

/** What a running `up` says about itself; undefined when none runs. */
export function readRunningUp(stateFolder: string): UpState | undefined {
  const state = parseState(readText(lockPath(stateFolder)));
  return state !== undefined && isSameProcessAlive(state) ? state : undefined;
}

/**
 * Takes the lock for this process. What a killed `up` left is taken over: its children are waited for and, when they do not end,
 * killed. Codes: conflict when another `up` runs here.
 */
export async function acquireUpLock(stateFolder: string, say: (text: string) => void): Promise<UpLock> {
  const path = lockPath(stateFolder);
  const self = identifyProcess(process.pid);
  invariant(self !== undefined, 'this process has no start time');
  let state: UpState = { ...self, children: [] };
  for (let tries = 0; !createWhole(path, state); tries += 1) {
    const text = readText(path);
    const former = parseState(text);
    if (former !== undefined && isSameProcessAlive(former)) throw alreadyRunning(stateFolder, former);
    if (tries >= maxTries) throw new HoldfastError('conflict', `the lock ${path} cannot be taken`);
    if (former !== undefined) {
      say(`an earlier holdfast up (process ${former.pid}) did not stop in an orderly way; taking over`);
      await endOrphans(former.children);
    }
    if (text !== undefined) takeAway(path);
  }
  return {
    update(change) {
      state = { ...state, ...change };
      const temporary = `${path}.${randomUUID()}`;
      writeFileSync(temporary, JSON.stringify(state), { mode: 0o600 });
      renameSync(temporary, path);
    },
    release: () => rmSync(path, { force: true }),
  };
}

function alreadyRunning(stateFolder: string, running: UpState): HoldfastError {
  const where = running.apiUrl === undefined ? '' : `, API at ${running.apiUrl}`;
  return new HoldfastError('conflict', `holdfast up is already running for ${stateFolder} (process ${running.pid}${where})`, {
    hint: `use it as it is, or stop it first with \`kill ${running.pid}\``,
  });
}

async function endOrphans(children: readonly ProcessIdentity[]): Promise<void> {
  const deadline = performance.now() + orphanWaitMs;
  while (children.some(isSameProcessAlive) && performance.now() < deadline) await sleep(orphanPollMs);
  for (const child of children) {
    if (isSameProcessAlive(child)) process.kill(child.pid, 'SIGKILL');
  }
}

function createWhole(path: string, state: UpState): boolean {
  const temporary = `${path}.${randomUUID()}`;
  writeFileSync(temporary, JSON.stringify(state), { mode: 0o600 });
  try {
    linkSync(temporary, path);
    return true;
  } catch (error) {
    if (errnoCode(error) === 'EEXIST') return false;
    throw error;
  } finally {
    rmSync(temporary, { force: true });
  }
}

/** Moves a dead process's lock aside; when another `up` was faster and what was moved is a live lock, gives it back. */
function takeAway(path: string): void {
  const aside = `${path}.${randomUUID()}`;
  try {
    renameSync(path, aside);
    const moved = parseState(readText(aside));
    if (moved !== undefined && isSameProcessAlive(moved)) linkSync(aside, path);
  } catch (error) {
    const code = errnoCode(error);
    if (code !== 'ENOENT' && code !== 'EEXIST') throw error;
  } finally {
    rmSync(aside, { force: true });
  }
}

function readText(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if (errnoCode(error) === 'ENOENT') return undefined;
    throw error;
  }
}

function parseState(text: string | undefined): UpState | undefined {
  if (text === undefined) return undefined;
  try {
    return upStateSchema.safeParse(JSON.parse(text)).data;
  } catch {
    return undefined; // A torn file belongs to nobody.
  }
}
