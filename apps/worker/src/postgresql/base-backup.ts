import { sourcePassword } from '@holdfast/database/backup-configs';
import type { BackupWork } from '@holdfast/database/backup-jobs';
import type { RunOutcome } from '@holdfast/database/runs';
import { archiveStream } from '@holdfast/engine/archive-stream';
import type { OnProgress } from '@holdfast/engine/progress';
import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { encodeFacts, type BaseFacts } from '@holdfast/policy/recovery-facts';
import { connectionPlace } from '@holdfast/sources/postgresql/connection-options';
import { assertAllowedHost } from '@holdfast/policy/allowed-hosts';
import type { PhysicalSourceOptions } from '@holdfast/sources/source-options/postgresql';
import type { BackupStoring } from '../backup-storing.ts';
import { backupOutcome } from '../run-outcomes.ts';
import type { RunInHand } from '../run-with-claim.ts';
import { baseBackupPaths, baseChunkBytes, baseInspection } from './base-store.ts';
import { receiveBase, type BaseReceiving, type Predecessor } from './receive-base.ts';

export interface BaseSource {
  readonly options: PhysicalSourceOptions;
  /** Whose password it is. */
  readonly configId: string;
  readonly predecessor: Predecessor | null;
}

/**
 * Backs up a whole server as its files, with the WAL that makes them consistent. Bad pages are warnings: the snapshot is kept, and says which
 * they are. Codes: postgresql_host_not_allowed, secret_unreadable, those of receiveBaseBackup, of connectWire and of archiveStream.
 */
export async function backUpBase(
  run: RunInHand<'backup'>,
  work: BackupWork,
  options: PhysicalSourceOptions,
  storing: BackupStoring,
): Promise<RunOutcome<'backup'>> {
  return await takeBase(run, { options, configId: work.backupConfigId, predecessor: null }, storing);
}

/** Takes a base backup and says in the row what it is. */
export async function takeBase(run: RunInHand<'backup'>, source: BaseSource, storing: BackupStoring): Promise<RunOutcome<'backup'>> {
  const { connection } = source.options;
  assertAllowedHost(connection, run.context.config.databaseHosts, 'postgresql_host_not_allowed');
  const { database, masterKey, hostname } = run.context;
  const password = (await sourcePassword(database.client, source.configId, connectionPlace(connection), masterKey)) ?? undefined;
  const parent = storing.parentOf(baseBackupPaths);
  const progress = withEstimate(run.onProgress);
  const receiving: BaseReceiving = {
    connection: { ...connection, password, applicationName: 'holdfast backup' },
    label: `holdfast ${run.claim.id}`,
    maxRateKiB: source.options.maxRateKiB,
    predecessor: source.predecessor,
    onEstimate: progress.estimate,
    onSuperuserUnknown: (name) => run.logger.warn({ name }, 'the server may not be asked who its superuser is'),
  };
  let facts: BaseFacts | undefined;
  const result = await archiveStream({
    ...storing.options,
    ...(parent === undefined ? {} : { parent }),
    paths: baseBackupPaths,
    fixedChunkBytes: baseChunkBytes,
    inspection: baseInspection,
    holdsRecords: true,
    receive: async (sink, signal) => {
      facts = await receiveBase(receiving, sink, signal);
    },
    onProgress: progress.onProgress,
  });
  if (facts === undefined) throw new HoldfastError('internal', 'a base backup was stored without its facts');
  const warnings = [...badPageWarnings(facts), ...result.warnings];
  const more = { hostname, parentId: parent?.id ?? null, postgresql: encodeFacts(facts) };
  return backupOutcome(storing.options.repository.storage.location, { ...result, warnings }, more);
}

/** What a row says of bad pages, also of one whose snapshot was found again. */
export function badPageWarnings({ badPageCount, badPages }: BaseFacts): string[] {
  if (badPageCount === 0) return [];
  const listed = badPages.map(({ path, block }) => `${path}: block ${block} does not match its checksum`);
  return [`${badPageCount} of the server's pages are damaged`, ...listed];
}

interface EstimatedProgress {
  readonly onProgress: OnProgress;
  /** What the server says is to come; null when it cannot say. */
  readonly estimate: (bytes: number | null) => void;
}

/** The server knows better how much there is than the size of the last backup does. */
function withEstimate(onProgress: OnProgress): EstimatedProgress {
  let expectedBytes: number | null = null;
  return {
    onProgress(value) {
      const isEstimated = expectedBytes !== null && value.phase === 'reading';
      onProgress(isEstimated ? { ...value, bytesTotal: Math.max(value.bytesDone, expectedBytes ?? 0) } : value);
    },
    estimate: (bytes) => (expectedBytes = bytes),
  };
}
