import { databaseBackups } from '@holdfast/database/adopted-backups';
import type { Transaction } from '@holdfast/database/open-database';
import type { Repository } from '@holdfast/engine/repository';
import { openReading } from '@holdfast/engine/repository-reading';
import type { Snapshot } from '@holdfast/engine/snapshots';
import { asHoldfastError } from '@holdfast/errors/holdfast-error';
import { encodeFacts, factsOf, type BaseFacts, type RecoveryFacts } from '@holdfast/policy/recovery-facts';
import { makersOf, nameOf, unknownServer } from '../describe-snapshot.ts';
import { lockOptionsOf } from '../lock-options.ts';
import type { AdoptedSnapshot } from '../processors/adopt.ts';
import type { RunInHand } from '../run-with-claim.ts';
import { loadStoredFacts } from './stored-facts.ts';

/**
 * Physical backups of PostgreSQL servers and their WAL, out of what lies in their snapshots: `backup.json` says which cluster it is of and what
 * can be recovered. Which config built on which is found by the clusters.
 */

/** Errors of one snapshot: the others are read all the same. */
const ofOneSnapshot: readonly string[] = ['repository_damaged', 'path_not_found', 'snapshot_missing', 'repository_unsupported'];

interface StoredFacts {
  readonly snapshot: Snapshot;
  readonly makers: { readonly jobId: string; readonly configId: string };
  readonly facts: RecoveryFacts;
}

export interface PhysicalSnapshots {
  /** Full backups, each the start of a chain. */
  readonly bases: readonly AdoptedSnapshot[];
  readonly increments: readonly StoredFacts[];
}

/**
 * Reads what the snapshots say of themselves. Codes: repository_locked, those of the storage; a single one that cannot be read is left out
 * with a warning.
 */
export async function readPhysical(
  run: RunInHand<'adopt'>,
  repository: Repository,
  snapshots: readonly Snapshot[],
  warnings: string[],
): Promise<PhysicalSnapshots> {
  if (snapshots.length === 0) return { bases: [], increments: [] };
  const read = await readFacts(run, repository, snapshots, warnings);
  const bases = read.filter(({ facts }) => isFull(facts)).map((stored) => adoptedOf(stored, unknownServer('physical')));
  return { bases, increments: read.filter(({ facts }) => !isFull(facts)) };
}

/** Once the bases have their rows: what builds on them. One whose base is not in the repository is left out with a warning. */
export async function onTheirBases(
  rows: Transaction,
  repositoryId: string,
  increments: readonly StoredFacts[],
  warnings: string[],
): Promise<AdoptedSnapshot[]> {
  if (increments.length === 0) return [];
  const bases = (await databaseBackups(rows, repositoryId)).flatMap(({ backupConfigId, metadata }) => {
    const facts = factsOf(metadata);
    return facts !== null && isFull(facts) ? [{ backupConfigId, facts }] : [];
  });
  return increments.flatMap((stored) => {
    const { systemIdentifier, kind } = stored.facts;
    const base = bases.findLast(({ facts }) => facts.systemIdentifier === systemIdentifier);
    if (base !== undefined) {
      return [adoptedOf(stored, { type: 'postgresql_wal', method: kind === 'wal' ? 'wal' : 'blocks', baseConfigId: base.backupConfigId })];
    }
    warnings.push(`snapshot ${stored.snapshot.id} builds on a base backup that is not in this repository; left out`);
    return [];
  });
}

async function readFacts(
  run: RunInHand<'adopt'>,
  repository: Repository,
  snapshots: readonly Snapshot[],
  warnings: string[],
): Promise<StoredFacts[]> {
  await using reading = await openReading({ ...lockOptionsOf(run), repository });
  const read: StoredFacts[] = [];
  for (const snapshot of snapshots) {
    const makers = makersOf(snapshot);
    if (makers === null) continue;
    try {
      const facts = await loadStoredFacts({ ...lockOptionsOf(run), repository, snapshotId: snapshot.id, reading });
      read.push({ snapshot, makers, facts });
    } catch (error) {
      const { code, message } = asHoldfastError(error);
      if (!ofOneSnapshot.includes(code)) throw error;
      warnings.push(`snapshot ${snapshot.id} is of a PostgreSQL server and cannot be read: ${message}`);
    }
  }
  return read;
}

function isFull(facts: RecoveryFacts): facts is BaseFacts {
  return facts.kind === 'base' && facts.parentJobId === null;
}

function adoptedOf({ snapshot, makers, facts }: StoredFacts, source: AdoptedSnapshot['config']['source']): AdoptedSnapshot {
  const what = isFull(facts) ? 'PostgreSQL, physical' : `PostgreSQL, ${facts.kind === 'wal' ? 'WAL' : 'changed blocks'}`;
  const config: AdoptedSnapshot['config'] = {
    adoptionKey: `config:${makers.configId}`,
    formerId: makers.configId,
    name: nameOf(snapshot.hostname ?? '', what),
    backupType: isFull(facts) ? 'database_full' : 'database_incremental',
    source,
  };
  return { snapshot, config, metadata: { postgresql: encodeFacts(facts) } };
}
