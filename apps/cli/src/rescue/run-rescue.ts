import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { startEmbeddedPostgres } from '@holdfast/database/embedded-postgres';
import { openDatabase, type Database } from '@holdfast/database/open-database';
import { loadOwnRows } from '@holdfast/database/own-rows-loading';
import { releaseLostRuns } from '@holdfast/database/rescued-rows';
import { parseMasterKey } from '@holdfast/database/sealed-secret';
import { recordServicePause } from '@holdfast/database/service-state';
import type { Repository } from '@holdfast/engine/repository';
import type { Snapshot } from '@holdfast/engine/snapshots';
import { errnoCode } from '@holdfast/errors/errno-code';
import { HoldfastError } from '@holdfast/errors/holdfast-error';
import type { CliConfig } from '../config.ts';
import { formatCount, formatDuration } from '../format-amount.ts';
import { loadSecrets, makeStateFolder, placeMasterKey } from '../secrets.ts';
import { watchStopSignals } from '../stop-signals.ts';
import { acquireUpLock } from '../up-lock.ts';
import { checkRepositories } from './check-repositories.ts';
import { moveRepositories, type Moved } from './moved-repositories.ts';
import { openRepositoryAt, readPlace } from './open-place.ts';
import { chooseSnapshot, findOwnDatabaseSnapshots, withOwnDatabase, type OwnDatabaseSnapshot } from './own-database-snapshot.ts';
import { beginRescue, finishRescue, unfinishedRescue, type RescueNote } from './rescue-note.ts';
import { summaryText, tellFound } from './rescue-report.ts';

export interface RescueOptions {
  readonly config: CliConfig;
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** A folder, or a JSON file: see readPlace. */
  readonly repository: string;
  /** `-` for standard input. */
  readonly passwordFile: string;
  /** `latest`, or the beginning of an id. */
  readonly snapshot: string;
  readonly stateFolder: string;
  readonly moves: readonly Moved[];
  /** Let no worker take a job before an admin says so. */
  readonly paused: boolean;
}

/** All is there; there, but a repository is not where the rows say; and of a shell, for what a signal ended. */
const [exitDone, exitIncomplete, exitInterrupted] = [0, 2, 130];
/** One connection for rows and one to spare. */
const poolSize = 2;

/**
 * Builds the state folder of a service from a repository and its password: secrets, database, rows. Nothing is written to any repository. It may be
 * killed anywhere and run again; a folder or a database with anything of its own in it is refused. Gives the exit code.
 */
export async function runRescue(options: RescueOptions): Promise<number> {
  const startedAt = performance.now();
  using stop = watchStopSignals(options.environment, () => process.exit(exitInterrupted));
  const { signal } = stop;
  try {
    const place = await readPlace(options.repository);
    say(`opening ${options.repository}`);
    await using repository = await openRepositoryAt(place, readPassword(options.passwordFile), signal);
    const begun = unfinishedRescue(options.stateFolder, repository.id);
    const snapshot = await selectSnapshot(repository, options, begun, signal);
    const isComplete = await withOwnDatabase(repository, snapshot.id, signal, (own) =>
      rebuild(options, own, { repository, snapshot, signal }),
    );
    say(`rescued in ${formatDuration(performance.now() - startedAt)}`);
    return isComplete ? exitDone : exitIncomplete;
  } catch (error) {
    if (!signal.aborted) throw error;
    say('stopped; the same command goes on from here');
    return exitInterrupted;
  }
}

async function selectSnapshot(
  repository: Repository,
  { snapshot: wanted, stateFolder }: RescueOptions,
  begun: RescueNote | undefined,
  signal: AbortSignal,
): Promise<Snapshot> {
  const onUnreadable = (id: string, error: HoldfastError): void => say(`snapshot ${id.slice(0, 8)} cannot be read: ${error.message}`);
  const snapshots = await findOwnDatabaseSnapshots(repository, { signal, onUnreadable });
  if (begun === undefined) {
    const chosen = chooseSnapshot(snapshots, wanted);
    tellFound(snapshots, chosen, say);
    return chosen;
  }
  say(`going on with the rescue that was begun at ${begun.startedAt}, from snapshot ${begun.snapshotId.slice(0, 8)}`);
  if (wanted === 'latest' || begun.snapshotId.startsWith(wanted)) return chooseSnapshot(snapshots, begun.snapshotId);
  throw new HoldfastError('conflict', `a rescue from snapshot ${begun.snapshotId} was begun in ${stateFolder}`, {
    hint: 'leave --snapshot out to go on with it, or name another folder',
  });
}

interface Rebuilding {
  readonly repository: Repository;
  readonly snapshot: Snapshot;
  readonly signal: AbortSignal;
}

/** Gives whether every repository was found where the rows say. */
async function rebuild(options: RescueOptions, own: OwnDatabaseSnapshot, { repository, snapshot, signal }: Rebuilding): Promise<boolean> {
  const { stateFolder, config, moves } = options;
  const { manifest } = own;
  if (config.masterKey !== undefined && config.masterKey.trim() !== own.masterKey) {
    throw new HoldfastError('configuration_invalid', 'HOLDFAST_MASTER_KEY is set, and to another key than the one in the backup', {
      hint: 'unset it: the one in the backup opens what is sealed there',
    });
  }
  const masterKey = parseMasterKey(own.masterKey);
  makeStateFolder(stateFolder);
  const lock = await acquireUpLock(stateFolder, say);
  try {
    // Once more, under the lock.
    const of = { repositoryId: repository.id, snapshotId: snapshot.id };
    const note = unfinishedRescue(stateFolder, repository.id) ?? beginRescue(stateFolder, of, new Date());
    placeMasterKey(stateFolder, own.masterKey);
    loadSecrets(stateFolder);
    say(`secrets: the master key of the backup, and a new secret for tokens: those that were given out are void`);
    await using resources = new AsyncDisposableStack();
    const url = config.databaseUrl ?? (await startDatabase(stateFolder, resources, signal));
    await loadOwnRows(url, {
      facts: manifest,
      rows: (table) => own.rows(table),
      rescue: { id: note.id, ...of },
      onTable: ({ name, rowCount }, nth) => say(`table ${nth + 1} of ${manifest.tables.length}: ${name}, ${formatCount(rowCount)} rows`),
      signal,
    });
    const database = resources.use(await openDatabase({ url, poolSize, applicationName: 'holdfast rescue' }));
    const releasedCount = await releaseLostRuns(database);
    if (options.paused) await recordServicePause(database.client, true);
    await moveRepositories(database, moves, masterKey, (from, to) => say(`moved: ${from} is ${to} now`));
    const isComplete = await report(database, options, own, { releasedCount, openedId: repository.id, signal });
    finishRescue(stateFolder, note, new Date());
    return isComplete;
  } finally {
    lock.release();
  }
}

async function report(
  database: Database,
  options: RescueOptions,
  { manifest, masterKey }: OwnDatabaseSnapshot,
  { releasedCount, openedId, signal }: { readonly releasedCount: number; readonly openedId: string; readonly signal: AbortSignal },
): Promise<boolean> {
  say('looking for the repositories that the rows name');
  const repositories = await checkRepositories(database, parseMasterKey(masterKey), {
    signal,
    onChecked: ({ id, location, state, reason }) =>
      say(
        `  ${{ opens: 'opens    ', unused: 'unused   ', not_there: 'NOT THERE' }[state]} ${location} (${id})${reason === null ? '' : `: ${reason}`}`,
      ),
  });
  const { stateFolder, repository: openedPlace, paused } = options;
  const isExternal = options.config.databaseUrl !== undefined;
  say(
    await summaryText(database.client, { manifest, repositories, releasedCount, openedId, openedPlace, stateFolder, paused, isExternal }),
  );
  return repositories.every(({ state }) => state !== 'not_there');
}

async function startDatabase(stateFolder: string, resources: AsyncDisposableStack, signal: AbortSignal): Promise<string> {
  const database = await startEmbeddedPostgres({ dataDir: join(stateFolder, 'postgres'), log: say, signal });
  resources.use(database);
  return database.url;
}

/** One line, or all of it: what follows the last line feed is a part of a password too. Codes: path_not_readable, request_invalid. */
function readPassword(path: string): string {
  const name = path === '-' ? 'standard input' : path;
  let text: string;
  try {
    text = readFileSync(path === '-' ? 0 : path, 'utf8');
  } catch (error) {
    throw new HoldfastError('path_not_readable', `--password-file: ${name} cannot be read (${errnoCode(error) ?? 'unknown'})`, {
      hint: 'name a file that holds the password of the repository and nothing else',
    });
  }
  const password = text.replace(/\r?\n$/u, '');
  if (password !== '') return password;
  throw new HoldfastError('request_invalid', `--password-file: ${name} is empty`, { hint: 'it holds the password of the repository' });
}

function say(text: string): void {
  process.stdout.write(`holdfast: ${text}\n`);
}
