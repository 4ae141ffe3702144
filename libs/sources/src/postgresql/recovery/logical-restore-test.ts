import { HoldfastError, isHoldfastError } from '@holdfast/errors/holdfast-error';
import type { ConnectionOptions } from '../connection-options.ts';
import { readManifest, type BackupFiles } from '../logical/restore/backup-files.ts';
import { restoreDatabase, totalsOf } from '../logical/restore/restore-database.ts';
import type { RestoreProgressValue } from '../logical/restore/restore-progress.ts';
import type { ToolPlaces } from '../logical/client-tools.ts';
import { inspectServer, type Inspection, type InspectionOptions } from './inspect-server.ts';
import { InspectionLog } from './inspection-log.ts';
import { makeScratchCluster } from './new-cluster.ts';
import { makeScratchDatabase } from './scratch-database.ts';
import { withInPlaceTablespaces } from './scratch-tablespaces.ts';
import { serverAccount } from './server-account.ts';
import { claimScratchFolder, endOrphanServers, removeServerFolder } from './server-folder.ts';
import { findServerPrograms, type ServerPrograms } from './server-programs.ts';
import { startServer } from './started-server.ts';

/**
 * A recovery of a logical backup that is thrown away: every database of it into a new cluster of a server that nobody else reaches. The
 * SQL of a backup is its owner's program, so it gets no more than the server over a physical one does: see
 * docs/decisions/restored-servers.md.
 */
export interface LogicalRestoreTestOptions {
  readonly files: BackupFiles;
  readonly scratchRoot: string;
  /** Folders with a `postgres`, looked at first. */
  readonly programFolders?: readonly string[] | undefined;
  readonly toolPlaces: ToolPlaces;
  readonly connectionCount: number;
  readonly inspection: Pick<InspectionOptions, 'exactRowLimit' | 'statementTimeoutMs' | 'totalTimeoutMs' | 'assertions'>;
  readonly onProgress: (value: RestoreProgressValue) => void;
  readonly signal: AbortSignal;
}

export interface LogicalRestoreTestResult {
  /** From an empty folder to databases with all indexes: what a recovery of this backup takes here. */
  readonly restoreMs: number;
  readonly laidBytes: number;
  /** Of the server that it was restored into. */
  readonly serverVersion: string;
  readonly inspection: Inspection;
}

/** Its own superuser, in a cluster of its own; a role of this name in the backup is left as it is here. */
const superuser = 'postgres';
/** Takes connections on every server, and is in no backup. */
const meetingDatabase = 'template1';
const newestMajor = 18;
const startTimeoutMs = 120_000;
const lockTimeoutMs = 60_000;

/**
 * Findings are in the result: what could not be made or filled, and what the inspection finds. Codes: repository_damaged, path_not_found
 * (no logical backup), postgresql_tool_missing (no server or client programs, or an extension that is not installed here),
 * configuration_invalid, postgresql_failed and postgresql_recovery_failed (the server of the test itself), disk_full, those of `files`; the signal's reason.
 */
export async function runLogicalRestoreTest(options: LogicalRestoreTestOptions): Promise<LogicalRestoreTestResult> {
  const { scratchRoot, inspection, signal } = options;
  const log = new InspectionLog();
  const manifest = await readManifest(options.files);
  const programs = await programsOf(manifest.server.major, options.programFolders);
  if (programs.majorVersion !== manifest.server.major) {
    log.note(`restored into PostgreSQL ${programs.version}: ${manifest.server.major}, where it comes from, is not installed at the worker`);
  }
  await endOrphanServers(scratchRoot);
  const folder = await claimScratchFolder(scratchRoot);
  try {
    const startedAtMs = performance.now();
    const place = { dataDir: folder.dataDir, scratchRoot, programs, superuser, signal };
    await makeScratchCluster({ ...place, account: serverAccount() });
    await using server = await startServer({ ...place, startTimeoutMs, isScratch: true });
    const connection = { ...server.connection, database: meetingDatabase, tls: { mode: 'disable' } as const };
    const laidBytes = await restoreAll({ ...options, manifest, connection, log });
    const restoreMs = performance.now() - startedAtMs;
    const inspected = await inspectServer({ ...inspection, connection: server.connection, isScratch: true, signal });
    return { restoreMs, laidBytes, serverVersion: programs.version, inspection: withLog(inspected, log) };
  } finally {
    await removeServerFolder(folder);
  }
}

/** The server's own major, or else the next newer one that is here. */
async function programsOf(major: number, folders: readonly string[] | undefined): Promise<ServerPrograms> {
  let missing: unknown;
  for (let majorVersion = major; ; majorVersion++) {
    try {
      return await findServerPrograms({ majorVersion, folders });
    } catch (error) {
      if (!isHoldfastError(error, 'postgresql_tool_missing')) throw error;
      missing ??= error;
      if (majorVersion >= newestMajor) throw missing;
    }
  }
}

interface Restoring extends LogicalRestoreTestOptions {
  readonly manifest: Awaited<ReturnType<typeof readManifest>>;
  readonly connection: ConnectionOptions;
  readonly log: InspectionLog;
}

/** Gives how many bytes were taken from the backup. */
async function restoreAll({
  manifest,
  connection,
  connectionCount,
  toolPlaces,
  signal,
  onProgress,
  log,
  ...options
}: Restoring): Promise<number> {
  const files = withInPlaceTablespaces(options.files);
  const totals = { filesTotal: 0, bytesTotal: 0 };
  for (const database of manifest.databases) {
    const { filesTotal, bytesTotal } = await totalsOf(files, database);
    totals.filesTotal += filesTotal;
    totals.bytesTotal += bytesTotal;
  }
  const done = { filesDone: 0, bytesDone: 0 };
  for (const [nth, source] of manifest.databases.entries()) {
    const { name } = source;
    let latest = { filesDone: 0, bytesDone: 0 };
    const onDatabaseProgress = (value: RestoreProgressValue): void => {
      latest = value;
      onProgress({ filesDone: done.filesDone + value.filesDone, bytesDone: done.bytesDone + value.bytesDone, ...totals });
    };
    try {
      await makeScratchDatabase({ connection, source, log, signal });
      const { failed, warnings } = await restoreDatabase({
        files,
        connection,
        database: name,
        sourceDatabase: name,
        globals: nth === 0,
        overwrite: false,
        connectionCount,
        lockTimeoutMs,
        toolPlaces,
        onTarget: () => Promise.resolve(),
        onProgress: onDatabaseProgress,
        signal,
      });
      for (const warning of warnings) log.note(warning);
      for (const { table, reason } of failed) log.find({ kind: 'table_not_restored', database: name, relation: table, detail: reason });
    } catch (error) {
      signal.throwIfAborted();
      log.find({ kind: 'database_not_restored', database: name, relation: null, detail: restoreFailure(error, name).message });
    }
    done.filesDone += latest.filesDone;
    done.bytesDone += latest.bytesDone;
  }
  return done.bytesDone;
}

/** What says of the backup that SQL in it does not run. */
const refusals: ReadonlySet<string> = new Set(['postgresql_failed', 'postgresql_denied', 'postgresql_not_found']);
/** Source: src/backend/commands/extension.c and src/backend/utils/fmgr/dfmgr.c, from 14 to 18. */
const missingExtension =
  /extension "([^"]+)" is not available|extension control file "[^"]*\/([^"/]+)\.control"|could not access file "([^"]+)"/u;

/** Throws what says nothing of the backup. */
function restoreFailure(error: unknown, database: string): HoldfastError {
  if (!isHoldfastError(error) || !refusals.has(error.code)) throw error;
  const [, ...names] = missingExtension.exec(error.message) ?? [];
  const name = names.find((each) => each !== undefined);
  if (name === undefined) return error;
  throw new HoldfastError(
    'postgresql_tool_missing',
    `the database ${database} needs ${name}, which the server at the worker does not have`,
    {
      hint: 'install the extension for the server programs at the worker, in the version that the database has',
      cause: error,
    },
  );
}

function withLog(inspection: Inspection, log: InspectionLog): Inspection {
  return {
    ...inspection,
    findings: [...log.findings, ...inspection.findings],
    findingCount: log.findingCount + inspection.findingCount,
    notes: [...log.notes, ...inspection.notes],
  };
}
