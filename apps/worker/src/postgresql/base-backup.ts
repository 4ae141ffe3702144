import { sourcePassword } from '@holdfast/database/backup-configs';
import type { BackupWork } from '@holdfast/database/backup-jobs';
import type { RunOutcome } from '@holdfast/database/runs';
import { archiveStream } from '@holdfast/engine/archive-stream';
import type { StreamSink } from '@holdfast/engine/archive-stream/stream-tree';
import type { OnProgress } from '@holdfast/engine/progress';
import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { encodeFacts, type BaseFacts } from '@holdfast/policy/recovery-facts';
import { receiveBaseBackup } from '@holdfast/sources/postgresql/base-backup/base-backup';
import { baseBackupReadme } from '@holdfast/sources/postgresql/base-backup/base-backup-readme';
import { findBootstrapSuperuser } from '@holdfast/sources/postgresql/base-backup/bootstrap-superuser';
import { connectWire } from '@holdfast/sources/postgresql/connect';
import { connectionPlace } from '@holdfast/sources/postgresql/connection-options';
import { assertAllowedHost } from '@holdfast/sources/postgresql/database-hosts';
import { keepWalMeanwhile } from '@holdfast/sources/postgresql/wal/replication-slot';
import { identifySystem } from '@holdfast/sources/postgresql/wal/system-identity';
import type { PhysicalSourceOptions } from '@holdfast/sources/source-options';
import type { BackupStoring } from '../backup-storing.ts';
import { backupOutcome } from '../run-outcomes.ts';
import type { RunInHand } from '../run-with-claim.ts';
import { addText, baseBackupPaths, storeBaseBackup, type ReceivedBase } from './base-store.ts';
import { factsPath, factsText } from './stored-facts.ts';

/** What an incremental base backup builds on. */
interface Predecessor {
  readonly jobId: string;
  readonly manifest: Uint8Array;
}

export interface BaseSource {
  readonly options: PhysicalSourceOptions;
  /** Whose password it is. */
  readonly configId: string;
  readonly predecessor: Predecessor | null;
}

/** Relation files change a page here and there: see docs/decisions/pages-at-fixed-places.md. */
const chunkBytes = 256 * 1024;
/** A row is read whole by every list. */
const maxListedPages = 100;
const usPerS = 1_000_000n;
const majorFactor = 10_000;

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
  assertAllowedHost(connection, run.context.config.databaseHosts);
  const { database, masterKey, hostname } = run.context;
  const password = (await sourcePassword(database.client, source.configId, connectionPlace(connection), masterKey)) ?? undefined;
  const parent = storing.parentOf(baseBackupPaths);
  const progress = withEstimate(run.onProgress);
  let facts: BaseFacts | undefined;
  const result = await archiveStream({
    ...storing.options,
    ...(parent === undefined ? {} : { parent }),
    paths: baseBackupPaths,
    fixedChunkBytes: chunkBytes,
    receive: async (sink, signal) => {
      facts = await receiveBase(run, source, { ...connection, password, applicationName: 'holdfast backup' }, { sink, signal, progress });
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

interface Receiving {
  readonly sink: StreamSink;
  readonly signal: AbortSignal;
  readonly progress: EstimatedProgress;
}

async function receiveBase(
  run: RunInHand<'backup'>,
  { options, predecessor }: BaseSource,
  connection: Parameters<typeof connectWire>[0],
  { sink, signal, progress }: Receiving,
): Promise<BaseFacts> {
  await using wire = await connectWire(connection, { mode: 'replication', signal });
  const superuser = await findBootstrapSuperuser(connection, signal);
  if (!superuser.isKnown) run.logger.warn({ name: superuser.name }, 'the server may not be asked who its superuser is');
  const { systemIdentifier, walSegmentSizeBytes } = await identifySystem(wire);
  await keepWalMeanwhile(wire);
  const isIncremental = predecessor !== null;
  const entries = receiveBaseBackup(wire, {
    label: `holdfast ${run.claim.id}`,
    checkpoint: 'fast',
    maxRateKibPerS: options.maxRateKiB,
    incrementalFrom: predecessor?.manifest,
    ownWal: { segmentSizeBytes: walSegmentSizeBytes },
  });
  // Of an incremental backup the server says how large a full one would be.
  const received = await storeBaseBackup(entries, sink, (start) => progress.estimate(isIncremental ? null : start.estimatedBytes));
  const majorVersion = Math.floor(wire.serverVersion / majorFactor);
  const identity = { systemIdentifier, majorVersion, segmentSizeBytes: walSegmentSizeBytes, superuser: superuser.name };
  const facts = { kind: 'base' as const, ...identity, ...factsOfReceived(received), parentJobId: predecessor?.jobId ?? null };
  const madeAtS = Number(facts.endTime / usPerS);
  const place = connectionPlace(options.connection);
  await addText(sink, '/README.txt', baseBackupReadme({ place, majorVersion, isIncremental }), madeAtS);
  await addText(sink, factsPath, factsText(facts), madeAtS);
  return facts;
}

function factsOfReceived({ start, end }: ReceivedBase) {
  if (end.endedS === null) throw new HoldfastError('postgresql_stream_damaged', 'the base backup came without its WAL');
  return {
    timeline: start.timeline,
    startLsn: start.startLsn,
    endLsn: end.endLsn,
    // The server tells whole seconds, rounded down; no recovery may stop earlier than the backup really ended.
    endTime: (BigInt(end.endedS) + 1n) * usPerS,
    checkedPageCount: end.checkedPageCount,
    badPageCount: end.badPageCount,
    badPages: end.badPages.slice(0, maxListedPages).map(({ file, block }) => ({ path: file, block })),
  };
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
