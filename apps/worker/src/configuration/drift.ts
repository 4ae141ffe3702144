import type { OwnRowTable } from '@holdfast/database/own-rows-of-entity';
import type { DiffEntry } from '@holdfast/engine/browse/snapshot-diff';
import { openSnapshotBrowser, type SnapshotBrowser } from '@holdfast/engine/browse/snapshot-browser';
import type { LockOptions } from '@holdfast/engine/lock';
import type { Repository } from '@holdfast/engine/repository';
import { printablePath } from '@holdfast/sources/system-path';
import { differingFields } from './row-difference.ts';
import { rowOfPath } from './row-paths.ts';

export type DriftChange = 'added' | 'changed' | 'removed';
export type DriftCounts = Readonly<Record<DriftChange, number>>;

/** What became of a configuration since its last snapshot: JSON, for the row of the run. */
export interface Drift {
  /** The snapshot that it is compared with. */
  readonly since: string;
  /** Of all, whatever the list holds. */
  readonly files: DriftCounts;
  readonly rows: DriftCounts;
  /** The first ones, by their paths. */
  readonly entries: readonly DriftEntry[];
}

export type DriftEntry =
  | {
      readonly path: string;
      readonly change: DriftChange;
      /** For a changed one: whether its content is another, or only its mode, owner, time or attributes. */
      readonly content?: boolean;
    }
  | {
      readonly table: OwnRowTable;
      readonly id: string;
      readonly change: DriftChange;
      /** For a changed one: the names of its fields that are others. Never a value. */
      readonly fields?: readonly string[];
    };

/** A row is read whole by every list; counts tell of the rest. */
const maxListed = 100;
/** A page of the comparison in memory. */
const pageEntries = 1_000;
/** A row of ours is some KiB. */
const maxRowBytes = 1024 * 1024;

export interface DriftOptions extends LockOptions {
  readonly repository: Repository;
  readonly beforeId: string;
  readonly afterId: string;
  readonly signal: AbortSignal;
}

/**
 * Compares two snapshots of a configuration: files, links and rows; folders only by what is in them. Codes: snapshot_missing,
 * repository_damaged, repository_locked (to read rows), those of the storage.
 */
export async function driftBetween({ beforeId, afterId, signal, ...options }: DriftOptions): Promise<Drift> {
  await using browser = openSnapshotBrowser(options);
  const files = { added: 0, changed: 0, removed: 0 };
  const rows = { added: 0, changed: 0, removed: 0 };
  const entries: DriftEntry[] = [];
  for (let after: string | null | undefined; after !== null;) {
    const page = await browser.diff(beforeId, afterId, { limit: pageEntries, ...(after === undefined ? {} : { after }) }, signal);
    for (const entry of page.entries) {
      if (isFolderOnly(entry)) continue;
      const change = changeOf(entry);
      const row = rowOfPath(entry.path);
      (row === null ? files : rows)[change]++;
      if (entries.length >= maxListed) continue;
      if (row === null) entries.push({ path: printablePath(entry.path), change, ...contentOf(entry) });
      else
        entries.push({
          ...row,
          change,
          ...(change === 'changed' ? { fields: await fieldsOf(browser, entry.path, { beforeId, afterId, signal }) } : {}),
        });
    }
    after = page.next;
  }
  return { since: beforeId, files, rows, entries };
}

export function isDrifted({ files, rows }: Drift): boolean {
  return [...Object.values(files), ...Object.values(rows)].some((count) => count > 0);
}

function isFolderOnly({ before, after }: DiffEntry): boolean {
  return [before, after].every((side) => side === null || side.type === 'dir');
}

function changeOf({ change }: DiffEntry): DriftChange {
  return change === 'added' || change === 'removed' ? change : 'changed';
}

function contentOf({ change }: DiffEntry): { content?: boolean } {
  return change === 'added' || change === 'removed' ? {} : { content: change !== 'metadata' };
}

async function fieldsOf(
  browser: SnapshotBrowser,
  path: string,
  { beforeId, afterId, signal }: Pick<DriftOptions, 'beforeId' | 'afterId' | 'signal'>,
): Promise<string[]> {
  return differingFields(await readRow(browser, beforeId, path, signal), await readRow(browser, afterId, path, signal));
}

async function readRow(browser: SnapshotBrowser, snapshotId: string, path: string, signal: AbortSignal): Promise<unknown> {
  const pieces: Uint8Array[] = [];
  for await (const piece of browser.read(snapshotId, path, { offsetBytes: 0, lengthBytes: maxRowBytes }, signal)) pieces.push(piece);
  try {
    return JSON.parse(Buffer.concat(pieces).toString('utf8'));
  } catch {
    // Somebody else's file of that name: that it differs is all there is to say.
    return null;
  }
}
