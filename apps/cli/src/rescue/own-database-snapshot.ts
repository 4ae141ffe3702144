import {
  maxManifestBytes,
  ownDatabaseManifestSchema,
  ownDatabasePath,
  ownDatabasePaths,
  type OwnDatabaseManifest,
} from '@holdfast/database/own-database-manifest';
import { loadIndex } from '@holdfast/engine/load-index';
import type { Repository } from '@holdfast/engine/repository';
import type { RepositoryReading } from '@holdfast/engine/repository-reading';
import { withSnapshotFiles, type SnapshotFiles } from '@holdfast/engine/snapshot-files';
import { listSnapshots, type Snapshot } from '@holdfast/engine/snapshots';
import { HoldfastError } from '@holdfast/errors/holdfast-error';

/** A master key in base64 with its line feed is far shorter. */
const maxMasterKeyBytes = 1024;
/** Letters of an id that name it well enough, as restic shows them. */
const minPrefixLength = 8;

/** The snapshots of Holdfast's own database in a repository, oldest first. Codes: snapshot_missing, when there is none. */
export async function findOwnDatabaseSnapshots(
  repository: Repository,
  { signal, onUnreadable }: { readonly signal: AbortSignal; readonly onUnreadable: (id: string, error: HoldfastError) => void },
): Promise<Snapshot[]> {
  const all = await listSnapshots(repository, { signal, onUnreadable });
  const own = all.filter(({ paths }) => paths.includes(ownDatabasePath));
  if (own.length > 0) return own;
  const { location } = repository.storage;
  if (all.length === 0) throw new HoldfastError('snapshot_missing', `${location} holds no snapshot`, { hint: 'name another repository' });
  throw new HoldfastError('snapshot_missing', `${location} holds ${all.length} snapshots, and none of Holdfast's own database`, {
    hint: 'name the repository of the entity system; or start an empty service and adopt this one: docs/adopting.md',
  });
}

/** `latest`, or the one whose id begins so. Codes: snapshot_missing, request_invalid (several do, or the text is no id). */
export function chooseSnapshot(snapshots: readonly Snapshot[], wanted: string): Snapshot {
  const newest = snapshots.at(-1);
  if (wanted === 'latest' && newest !== undefined) return newest;
  if (!/^[0-9a-f]+$/u.test(wanted) || wanted.length < minPrefixLength) {
    throw new HoldfastError('request_invalid', `--snapshot: ${JSON.stringify(wanted)} is no id of a snapshot`, {
      hint: `give latest, or at least the first ${minPrefixLength} letters of an id`,
    });
  }
  const [found, second] = snapshots.filter(({ id }) => id.startsWith(wanted));
  if (found !== undefined && second === undefined) return found;
  const hint = `of Holdfast's own database there are: ${snapshots.map(({ id }) => id.slice(0, minPrefixLength)).join(', ')}`;
  if (found === undefined)
    throw new HoldfastError('snapshot_missing', `--snapshot: there is no ${wanted} of Holdfast's own database`, { hint });
  throw new HoldfastError('request_invalid', `--snapshot: several begin with ${wanted}`, { hint });
}

export interface OwnDatabaseSnapshot {
  readonly manifest: OwnDatabaseManifest;
  /** Base64. */
  readonly masterKey: string;
  rows(table: string): AsyncIterable<Uint8Array>;
}

/**
 * Gives the parts of a snapshot to `use`. No lock is taken, since that would be written: somebody who prunes meanwhile could make the
 * reading fail, never go wrong. Codes: repository_damaged, those of the storage and of `use`.
 */
export async function withOwnDatabase<T>(
  repository: Repository,
  snapshotId: string,
  signal: AbortSignal,
  use: (snapshot: OwnDatabaseSnapshot) => Promise<T>,
): Promise<T> {
  const { index } = await loadIndex(repository, { signal });
  await using reading: RepositoryReading = { index, lock: unwrittenLock(), [Symbol.asyncDispose]: nothingToDo };
  return await withSnapshotFiles({ repository, snapshotId, reading, signal }, async (files) => {
    const manifest = parseManifest(await textOf(files, ownDatabasePaths.manifest, maxManifestBytes));
    const masterKey = (await textOf(files, ownDatabasePaths.masterKey, maxMasterKeyBytes)).trim();
    return await use({ manifest, masterKey, rows: (table) => files.read(ownDatabasePaths.table(table)) });
  });
}

function unwrittenLock(): RepositoryReading['lock'] {
  return { exclusive: false, lost: new AbortController().signal, release: nothingToDo, [Symbol.asyncDispose]: nothingToDo };
}

async function nothingToDo(): Promise<void> {}

function parseManifest(text: string): OwnDatabaseManifest {
  try {
    return ownDatabaseManifestSchema.parse(JSON.parse(text));
  } catch (error) {
    throw new HoldfastError('repository_damaged', `${ownDatabasePaths.manifest} of the snapshot is not one that this version reads`, {
      hint: 'use the version of Holdfast that wrote it, or a newer one; or choose another snapshot',
      cause: error,
    });
  }
}

async function textOf(files: SnapshotFiles, path: string, maxBytes: number): Promise<string> {
  const pieces: Uint8Array[] = [];
  let bytes = 0;
  for await (const piece of files.read(path)) {
    bytes += piece.length;
    if (bytes > maxBytes) throw new HoldfastError('repository_damaged', `${path} of the snapshot has more than ${maxBytes} bytes`);
    pieces.push(piece);
  }
  return Buffer.concat(pieces).toString('utf8');
}
