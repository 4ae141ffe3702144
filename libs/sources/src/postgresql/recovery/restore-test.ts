import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Lsn } from '../lsn.ts';
import { inspectServer, type Inspection, type InspectionOptions } from './inspect-server.ts';
import { finishPhysicalTarget, preparePhysicalTarget } from './physical-target.ts';
import { startRecoveryServer, type Recovered } from './recovery-server.ts';
import type { RecoveryStop } from './recovery-settings.ts';
import { serverAccount } from './server-account.ts';
import { claimScratchFolder, endOrphanServers, removeServerFolder } from './server-folder.ts';
import { findServerPrograms } from './server-programs.ts';

/**
 * A restore that is thrown away: files and WAL are laid into a scratch folder, a server of the right version recovers them, and what it
 * then holds is looked at. Nothing of it stays, however it ends; what a killed process could not take away, the next test does.
 */
export interface RestoreTestOptions {
  readonly scratchRoot: string;
  readonly majorVersion: number;
  /** Folders with a `postgres`, looked at first. */
  readonly programFolders?: readonly string[] | undefined;
  readonly stop: RecoveryStop;
  readonly timeline: number;
  /** WAL that is laid is known to hold a record that ends here. */
  readonly leastLsn?: Lsn | undefined;
  readonly superuser: string;
  readonly preloadLibraries?: string | undefined;
  /** Lays a full base backup into `dataDir` (empty), WAL and history files into `walDir`; gives how many bytes it wrote. */
  readonly lay: (places: { readonly dataDir: string; readonly walDir: string; readonly signal: AbortSignal }) => Promise<number>;
  readonly recoveryTimeoutMs: number;
  readonly inspection: Pick<InspectionOptions, 'exactRowLimit' | 'statementTimeoutMs' | 'totalTimeoutMs' | 'assertions'>;
  readonly signal: AbortSignal;
}

export interface RestoreTestResult {
  /** From the first file to a server that answers: what a recovery of this backup takes here. */
  readonly restoreMs: number;
  readonly laidBytes: number;
  readonly recovered: Recovered;
  readonly inspection: Inspection;
  readonly notes: readonly string[];
}

/** Findings are in the result. Codes: those of findServerPrograms (before anything is written), the target, the server, and `lay`. */
export async function runRestoreTest(options: RestoreTestOptions): Promise<RestoreTestResult> {
  const { scratchRoot, stop, timeline, superuser, leastLsn, preloadLibraries, recoveryTimeoutMs, signal } = options;
  const programs = await findServerPrograms({ majorVersion: options.majorVersion, folders: options.programFolders });
  await endOrphanServers(scratchRoot);
  const folder = await claimScratchFolder(scratchRoot);
  try {
    const startedAtMs = performance.now();
    const walDir = join(folder.path, 'wal');
    await mkdir(walDir, { mode: 0o700 });
    const place = { dataDir: folder.dataDir, walDir, roots: [folder.path] };
    const target = await preparePhysicalTarget({ ...place, stop, timeline, action: 'promote', owner: serverAccount() });
    const laidBytes = await options.lay({ dataDir: target.dataDir, walDir, signal });
    const { notes } = await finishPhysicalTarget(target);
    await using server = await startRecoveryServer({
      dataDir: target.dataDir,
      scratchRoot,
      programs,
      superuser,
      leastLsn,
      preloadLibraries,
      recoveryTimeoutMs,
      signal,
      isScratch: true,
    });
    const restoreMs = performance.now() - startedAtMs;
    const inspection = await inspectServer({ ...options.inspection, connection: server.connection, isScratch: true, signal });
    return { restoreMs, laidBytes, recovered: server.recovered, inspection, notes };
  } finally {
    await removeServerFolder(folder);
  }
}
