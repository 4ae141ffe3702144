import { join } from 'node:path';
import { startEmbeddedPostgres } from '@holdfast/database/embedded-postgres';
import { migrate } from '@holdfast/database/migrate';
import type { Checkout } from './checkout.ts';
import type { CliConfig } from './config.ts';
import { choosePort, usualPort } from './free-port.ts';
import { formatDuration } from './format-amount.ts';
import type { ProcessIdentity } from './process-identity.ts';
import { refuseUnfinishedRescue } from './rescue/rescue-note.ts';
import { loadSecrets, makeStateFolder } from './secrets.ts';
import { makeServiceFolders, serviceEnvironment, serviceFolders } from './service-environment.ts';
import { startStack, type Stack } from './stack.ts';
import { startTour } from './start-tour.ts';
import { StopRequest, untilAborted, watchStopSignals } from './stop-signals.ts';
import type { TourResult } from './tour/run-tour.ts';
import { readTourRecord, writeTourRecord } from './tour-record.ts';
import { acquireUpLock, type UpLock } from './up-lock.ts';
import { welcomeText } from './welcome.ts';

export interface UpOptions {
  readonly checkout: Checkout;
  readonly config: CliConfig;
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** Over the one of the configuration. */
  readonly port: number | undefined;
  readonly workerCount: number;
  /** Run the tour, stop everything, and say by the exit code whether all went well. */
  readonly once: boolean;
  /** `first-start`: only when none has succeeded here. */
  readonly tour: 'always' | 'first-start' | 'never';
  readonly withNodeModules: boolean;
}

/** Of a shell, for a program that Ctrl-C ended. */
const exitInterrupted = 130;

/**
 * Everything on one machine, until it is told to stop: database, migrations, API, workers. Returns the exit code. What it starts is
 * stopped again in the reverse order, whatever happens.
 */
export async function runUp(options: UpOptions): Promise<number> {
  let stack: Stack | undefined;
  const startedAt = performance.now();
  using stop = watchStopSignals(options.environment, () => {
    say('stopping at once; work in hand goes on at the next start');
    stack?.kill();
  });
  makeStateFolder(options.checkout.stateFolder);
  const lock = await acquireUpLock(options.checkout.stateFolder, say);
  try {
    refuseUnfinishedRescue(options.checkout.stateFolder);
    await using resources = new AsyncDisposableStack();
    const started = await startAll(options, lock, resources, stop.signal, (value) => {
      stack = value;
    });
    say(`up after ${formatDuration(performance.now() - startedAt)}`);
    const tour = await tourIfWanted(options, started, stop.signal);
    if (options.once) {
      say('stopping');
      return tour?.succeeded === false ? 1 : 0;
    }
    const facts = tour ?? readTourRecord(options.checkout.stateFolder);
    process.stdout.write(welcomeText({ checkout: options.checkout, apiUrl: started.apiUrl, made: facts?.made }));
    await untilAborted(stop.signal);
    say(`stopping; work in hand has ${options.config.shutdownGraceMs / 1000} s, and another Ctrl-C ends it at once`);
    return 0;
  } catch (error) {
    // Asked to stop while starting or touring: that is what was done. A tour that was broken off did not succeed.
    if (stop.signal.aborted && (error === stop.signal.reason || isAbort(error))) {
      say(`stopped: ${stop.signal.reason instanceof StopRequest ? stop.signal.reason.message : 'on request'}`);
      return options.once ? exitInterrupted : 0;
    }
    throw error;
  } finally {
    lock.release();
  }
}

interface Started {
  readonly apiUrl: string;
  readonly jwtSecret: string;
  readonly folders: ReturnType<typeof serviceFolders>;
}

/** Starts one after the other; each is put on `resources`, which ends them. */
async function startAll(
  options: UpOptions,
  lock: UpLock,
  resources: AsyncDisposableStack,
  signal: AbortSignal,
  onStack: (stack: Stack) => void,
): Promise<Started> {
  const { checkout, config } = options;
  const made = loadSecrets(checkout.stateFolder);
  const secrets = { masterKey: config.masterKey ?? made.masterKey, jwtSecret: config.jwtSecret ?? made.jwtSecret };
  const folders = serviceFolders(checkout, config);
  makeServiceFolders(checkout, folders);

  const databaseUrl = config.databaseUrl ?? (await startDatabase(checkout, resources, signal));
  await migrate(databaseUrl, { log: say });

  const askedPort = options.port ?? config.apiPort;
  const port = await choosePort(config.apiHost, askedPort);
  if (askedPort === undefined && port !== usualPort) say(`port ${usualPort} is in use by another program; the API takes ${port}`);
  const apiUrl = `http://${urlHost(config.apiHost)}:${port}`;
  lock.update({ databaseUrl, apiUrl });
  const stack = startStack({
    checkout,
    environment: serviceEnvironment(options.environment, { databaseUrl, secrets, host: config.apiHost, port, folders }),
    apiUrl,
    workerCount: options.workerCount,
    shutdownGraceMs: config.shutdownGraceMs,
    say,
    onProcesses: (children) => noteChildren(lock, children),
    signal,
  });
  resources.use(stack);
  onStack(stack);
  await stack.untilHealthy();
  return { apiUrl, jwtSecret: secrets.jwtSecret, folders };
}

/** The note is for a takeover after a crash; a disk that is full now must not end what runs. */
function noteChildren(lock: UpLock, children: readonly ProcessIdentity[]): void {
  try {
    lock.update({ children: [...children] });
  } catch (error) {
    say(`the lock cannot be written: ${String(error)}`);
  }
}

async function startDatabase(checkout: Checkout, resources: AsyncDisposableStack, signal: AbortSignal): Promise<string> {
  const database = await startEmbeddedPostgres({ dataDir: join(checkout.stateFolder, 'postgres'), log: say, signal });
  resources.use(database);
  return database.url;
}

async function tourIfWanted(options: UpOptions, started: Started, signal: AbortSignal): Promise<TourResult | undefined> {
  const { stateFolder } = options.checkout;
  if (options.tour === 'never' || (options.tour === 'first-start' && readTourRecord(stateFolder) !== undefined)) return undefined;
  const result = await startTour({ ...started, checkout: options.checkout, withNodeModules: options.withNodeModules, signal });
  if (result.succeeded && result.made !== undefined) writeTourRecord(stateFolder, { made: result.made });
  return result;
}

/** From all interfaces the API answers on this one. */
function urlHost(host: string): string {
  if (host === '0.0.0.0' || host === '::') return '127.0.0.1';
  return host.includes(':') ? `[${host}]` : host;
}

function isAbort(error: unknown): boolean {
  return error instanceof Error && (error.name === 'AbortError' || error.name === 'StopRequest');
}

function say(text: string): void {
  process.stdout.write(`holdfast: ${text}\n`);
}
