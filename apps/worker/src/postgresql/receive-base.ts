import type { StreamSink } from '@holdfast/engine/archive-stream/stream-tree';
import { HoldfastError } from '@holdfast/errors/holdfast-error';
import type { BaseFacts } from '@holdfast/policy/recovery-facts';
import { receiveBaseBackup } from '@holdfast/sources/postgresql/base-backup/base-backup';
import { baseBackupReadme } from '@holdfast/sources/postgresql/base-backup/base-backup-readme';
import { findBootstrapSuperuser } from '@holdfast/sources/postgresql/base-backup/bootstrap-superuser';
import { connectWire } from '@holdfast/sources/postgresql/connect';
import { connectionPlace, type ConnectionOptions } from '@holdfast/sources/postgresql/connection-options';
import { keepWalMeanwhile } from '@holdfast/sources/postgresql/wal/replication-slot';
import { identifySystem } from '@holdfast/sources/postgresql/wal/system-identity';
import { addText, storeBaseBackup, type ReceivedBase } from './base-store.ts';
import { factsPath, factsText } from './stored-facts.ts';

/** What an incremental base backup builds on. */
export interface Predecessor {
  readonly jobId: string;
  readonly manifest: Uint8Array;
}

export interface BaseReceiving {
  /** With the password. */
  readonly connection: ConnectionOptions;
  /** Stands in backup_label. */
  readonly label: string;
  readonly maxRateKiB: number | undefined;
  /** Null for a full backup. */
  readonly predecessor: Predecessor | null;
  /** What the server says is to come; null when it cannot say. */
  readonly onEstimate: (bytes: number | null) => void;
  /** The server may not be asked who its superuser is, and this is assumed. */
  readonly onSuperuserUnknown: (name: string) => void;
}

/** A row is read whole by every list. */
const maxListedPages = 100;
const usPerS = 1_000_000n;
const majorFactor = 10_000;

/**
 * Takes a base backup of a server over connections of its own and hands all that its snapshot has to the sink. Returns what the row says of it.
 * Codes: those of connectWire, receiveBaseBackup and the sink; the signal's reason.
 */
export async function receiveBase(
  { connection, label, maxRateKiB, predecessor, onEstimate, onSuperuserUnknown }: BaseReceiving,
  sink: StreamSink,
  signal: AbortSignal,
): Promise<BaseFacts> {
  await using wire = await connectWire(connection, { mode: 'replication', signal });
  const superuser = await findBootstrapSuperuser(connection, signal);
  if (!superuser.isKnown) onSuperuserUnknown(superuser.name);
  const { systemIdentifier, walSegmentSizeBytes } = await identifySystem(wire);
  await keepWalMeanwhile(wire);
  const isIncremental = predecessor !== null;
  const entries = receiveBaseBackup(wire, {
    label,
    checkpoint: 'fast',
    maxRateKibPerS: maxRateKiB,
    incrementalFrom: predecessor?.manifest,
    ownWal: { segmentSizeBytes: walSegmentSizeBytes },
  });
  // Of an incremental backup the server says how large a full one would be.
  const received = await storeBaseBackup(entries, sink, (start) => onEstimate(isIncremental ? null : start.estimatedBytes));
  const majorVersion = Math.floor(wire.serverVersion / majorFactor);
  const identity = { systemIdentifier, majorVersion, segmentSizeBytes: walSegmentSizeBytes, superuser: superuser.name };
  const facts = { kind: 'base' as const, ...identity, ...factsOfReceived(received), parentJobId: predecessor?.jobId ?? null };
  const madeAtS = Number(facts.endTime / usPerS);
  const place = connectionPlace(connection);
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
