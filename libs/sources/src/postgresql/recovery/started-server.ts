import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { open, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { errnoCode } from '@holdfast/errors/errno-code';
import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { processEnded, signalProcess } from './running-process.ts';
import { accessRules, scratchPort, scratchSettings } from './scratch-settings.ts';
import { assertReachable, ownerOf, reachablePrograms, type Account } from './server-account.ts';
import { makeServerFolder, noteServerProcess, removeServerFolder, type ServerFolder } from './server-folder.ts';
import { logTailBytes, recoveryError } from './server-log.ts';
import type { ServerPrograms } from './server-programs.ts';

/**
 * A server over a data folder that nobody else reaches. It has no port: its socket lies in a folder that only its account may enter. It is
 * believed to be ready only when it says so itself, which it does once it has recovered.
 */
export interface ServerOptions {
  /** Owned by the account that is to run the server. */
  readonly dataDir: string;
  /** Folders of servers are made in it; on the same machine for all that use it. Searchable by the account. */
  readonly scratchRoot: string;
  readonly programs: ServerPrograms;
  /** A role that may do everything: the owner of the cluster, `postgres` nearly everywhere. */
  readonly superuser: string;
  /** Ends the server too, once it runs. */
  readonly signal: AbortSignal;
  /** Until it is ready. */
  readonly startTimeoutMs: number;
  readonly preloadLibraries?: string | undefined;
  /** True when the data folder goes with the server, as after a restore test; then it is not written durably either. */
  readonly isScratch: boolean;
}

export interface StartedServer extends AsyncDisposable {
  /** For pg and libpq: a folder as the host is a socket. */
  readonly connection: { readonly host: string; readonly port: number; readonly user: string };
  readonly pid: number;
  /** By performance.now(). */
  readonly startedAtMs: number;
  /** Ends it in order (a scratch one at once) and removes its folder. May be called twice. */
  stop(): Promise<void>;
}

/** Asking costs nothing beside a server that replays; one that is up at once is not to wait for the next time. */
const firstPollMs = 5;
const lastPollMs = 50;
/** A pause is this part of the time that the server has had. */
const pollShare = 1 / 20;
/** A fast shutdown writes what is in memory; an immediate one only has to be noticed. */
const stopTimeoutMs = 60_000;
const quitTimeoutMs = 10_000;

/**
 * Starts the server and waits until it is ready. Nothing of it is left when this throws: no process, no folder of it below the scratch
 * root; a scratch data folder goes too. Codes: those of recoveryError, postgresql_recovery_failed (no time left), configuration_invalid;
 * the signal's reason.
 */
export async function startServer(options: ServerOptions): Promise<StartedServer> {
  const { dataDir, scratchRoot, superuser, signal, isScratch } = options;
  let folder: ServerFolder;
  let account: Account;
  try {
    signal.throwIfAborted();
    account = await ownerOf(dataDir);
    folder = await makeServerFolder(scratchRoot, { dataDir, removeDataDir: isScratch, account, accessRules });
  } catch (error) {
    if (isScratch) await rm(dataDir, { recursive: true, force: true });
    throw error;
  }
  const running = new RunningServer(folder, dataDir, isScratch);
  try {
    for (const path of [dataDir, folder.socketDir]) await assertReachable(path, account);
    const programs = await reachablePrograms(options.programs, account, scratchRoot);
    const startedAtMs = performance.now();
    await running.spawn(programs, account, options.preloadLibraries ?? '');
    await untilReady(running, startedAtMs, options.startTimeoutMs, signal);
    const connection = { host: folder.socketDir, port: scratchPort, user: superuser };
    running.stopOn(signal);
    const stop = (): Promise<void> => running.stop();
    return { connection, pid: running.pid, startedAtMs, stop, [Symbol.asyncDispose]: stop };
  } catch (error) {
    await running.stop();
    throw error;
  }
}

/** The process, and what ends it in each case. */
class RunningServer {
  readonly #folder: ServerFolder;
  readonly #dataDir: string;
  readonly #isScratch: boolean;
  #child: ChildProcess | null = null;
  #watcher: ChildProcess | null = null;
  #stopping: Promise<void> | null = null;
  #forgetSignal = (): void => undefined;

  constructor(folder: ServerFolder, dataDir: string, isScratch: boolean) {
    this.#folder = folder;
    this.#dataDir = dataDir;
    this.#isScratch = isScratch;
  }

  get pid(): number {
    return this.#child?.pid ?? 0;
  }

  get hasEnded(): boolean {
    // Without a process id it was never started.
    return this.#child?.pid === undefined || this.#child.exitCode !== null || this.#child.signalCode !== null;
  }

  async spawn(programs: ServerPrograms, account: Account, preloadLibraries: string): Promise<void> {
    const { majorVersion } = programs;
    const settings = scratchSettings({ ...this.#folder, majorVersion, preloadLibraries, isDurable: !this.#isScratch });
    const args = Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
    const identity = process.getuid?.() === 0 ? account : {};
    const log = await open(this.#folder.log, 'a', 0o600);
    try {
      // A process group of its own: Ctrl-C is for us, who end it. Its environment is empty: ours holds secrets.
      this.#child = spawn(programs.postgres, ['-D', this.#dataDir, ...args], {
        ...identity,
        stdio: ['ignore', log.fd, log.fd],
        env: { PATH: '/usr/bin:/bin', LC_ALL: 'C', TZ: 'UTC' },
        cwd: '/',
        detached: true,
      });
      await once(this.#child, 'spawn');
    } finally {
      await log.close();
    }
    this.#watcher = watchStarter(this.#dataDir, this.pid);
    await noteServerProcess(this.#folder, this.pid);
  }

  /** The first line of postmaster.pid is the process, the eighth its state. */
  async isReady(): Promise<boolean> {
    const text = await readFile(join(this.#dataDir, 'postmaster.pid'), 'utf8').catch((error: unknown) => {
      if (errnoCode(error) === 'ENOENT') return '';
      throw error;
    });
    const lines = text.split('\n').map((line) => line.trim());
    return Number(lines[0]) === this.pid && lines[7] === 'ready';
  }

  async logTail(): Promise<string> {
    const handle = await open(this.#folder.log, 'r');
    try {
      const { size } = await handle.stat();
      const buffer = Buffer.alloc(Math.min(size, logTailBytes));
      const { bytesRead } = await handle.read(buffer, 0, buffer.length, size - buffer.length);
      return buffer.toString('utf8', 0, bytesRead);
    } finally {
      await handle.close();
    }
  }

  stopOn(signal: AbortSignal): void {
    const onAbort = (): void => {
      // Whoever disposes of the server gets the same promise, and its error.
      this.stop().catch(() => undefined);
    };
    signal.addEventListener('abort', onAbort, { once: true });
    this.#forgetSignal = () => signal.removeEventListener('abort', onAbort);
    if (signal.aborted) onAbort();
  }

  stop(): Promise<void> {
    return (this.#stopping ??= this.#stop());
  }

  async #stop(): Promise<void> {
    this.#forgetSignal();
    try {
      await this.#endProcess();
    } finally {
      this.#watcher?.stdin?.end('ended in order\n');
      await removeServerFolder(this.#folder);
    }
  }

  async #endProcess(): Promise<void> {
    if (this.hasEnded) return;
    const ways: readonly (readonly [NodeJS.Signals, number])[] = [
      ...(this.#isScratch ? [] : [['SIGINT', stopTimeoutMs] as const]),
      ['SIGQUIT', quitTimeoutMs],
      ['SIGKILL', quitTimeoutMs],
    ];
    for (const [signal, timeoutMs] of ways) {
      signalProcess(this.pid, signal);
      if (await processEnded(this.pid, timeoutMs)) return;
    }
    throw new HoldfastError('postgresql_recovery_failed', `the server (process ${this.pid}) does not end, not even when it is killed`);
  }
}

/**
 * A shell that waits on a pipe from this process, which breaks however this process ends, also by SIGKILL. Without a word before, it
 * ends the server, if that still is the one on the data folder. What is left of the folders goes with endOrphanServers.
 */
function watchStarter(dataDir: string, serverPid: number): ChildProcess {
  const script = `read -r word && exit; [ "$(head -n 1 "$1/postmaster.pid")" = "$2" ] && kill -QUIT "$2"`;
  const args = ['-c', script, 'sh', dataDir, String(serverPid)];
  const watcher = spawn('sh', args, { stdio: ['pipe', 'ignore', 'ignore'], detached: true, env: { PATH: '/usr/bin:/bin' }, cwd: '/' });
  watcher.unref();
  // Without a watcher the next start still finds it.
  watcher.once('error', () => undefined);
  watcher.stdin.once('error', () => undefined);
  if ('unref' in watcher.stdin && typeof watcher.stdin.unref === 'function') watcher.stdin.unref();
  return watcher;
}

async function untilReady(running: RunningServer, startedAtMs: number, timeoutMs: number, signal: AbortSignal): Promise<void> {
  while (!(await running.isReady())) {
    if (running.hasEnded) throw recoveryError(await running.logTail());
    const passedMs = performance.now() - startedAtMs;
    if (passedMs > timeoutMs) {
      throw new HoldfastError('postgresql_recovery_failed', 'the server has not recovered in the time that it was given', {
        hint: 'allow more time, or take base backups more often, so that less WAL is replayed',
      });
    }
    // An abort ends the pause; its reason is thrown, not that of the pause.
    const pauseMs = Math.max(firstPollMs, Math.min(passedMs * pollShare, lastPollMs));
    await delay(pauseMs, undefined, { signal }).catch(() => signal.throwIfAborted());
  }
}
