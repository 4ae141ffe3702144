import { openMemoryStorage } from '@holdfast/storage/memory-storage';
import type { Storage } from '@holdfast/storage/storage';
import { archive, type ArchiveOptions, type ArchiveResult } from '../archiver.ts';
import { systemClock, type Clock } from '../clock.ts';
import { createRepository, type CreateRepositoryOptions } from '../create-repository.ts';
import { openRepository, type Repository } from '../repository.ts';
import { restore } from '../restorer.ts';
import { openMemorySource, type MemoryEntry, type MemoryFolder } from './memory-source.ts';
import { openMemoryTarget, type MemoryTarget } from './memory-target.ts';

/** The least that scrypt takes: tests derive many keys. */
export const cheapKdf = { N: 1024, r: 1, p: 1 } as const;

/** The system's clock, but the short pauses (a lock settling, a retry) take no time. Those that refresh a lock do. */
export const impatientClock: Clock = {
  now: () => systemClock.now(),
  sleep: (durationMs, signal) => systemClock.sleep(durationMs > 60_000 ? durationMs : 0, signal),
};

export async function createTestRepository(
  storage: Storage = openMemoryStorage(),
  options: Partial<Pick<CreateRepositoryOptions, 'password' | 'chunkerPolynomial'>> = {},
): Promise<Repository> {
  return await createRepository({ storage, password: 'secret', hostname: 'host', username: 'ann', kdf: cheapKdf, ...options });
}

export async function openTestRepository(storage: Storage, password = 'secret'): Promise<Repository> {
  return await openRepository({ storage, password });
}

export async function archiveTree(
  repository: Repository,
  tree: MemoryFolder,
  options: Partial<ArchiveOptions> = {},
): Promise<ArchiveResult> {
  return await archive({
    repository,
    source: openMemorySource(tree),
    hostname: 'host',
    username: 'ann',
    clock: impatientClock,
    ...options,
  });
}

/** Restores a snapshot to memory. */
export async function restoreTree(repository: Repository, snapshotId: string): Promise<MemoryTarget> {
  const target = openMemoryTarget();
  const result = await restore({ repository, snapshotId, target, clock: impatientClock });
  if (result.failedCount > 0) throw new Error(`not restored: ${JSON.stringify(result.failed)}`);
  return target;
}

/** What a restore of the tree must give: paths to content, link target or type. */
export function expectedContents(tree: MemoryFolder, folder = ''): Map<string, string> {
  const contents = new Map<string, string>();
  for (const [name, entry] of Object.entries(tree)) {
    const path = `${folder}/${name}`;
    contents.set(path, contentOf(entry));
    if (entry.type === 'dir') for (const [below, content] of expectedContents(entry.entries, path)) contents.set(below, content);
  }
  return contents;
}

function contentOf(entry: MemoryEntry): string {
  if (entry.type === 'file') return `file ${Buffer.from(entry.bytes).toString('base64')}`;
  return entry.type === 'symlink' ? `symlink ${entry.linkTarget}` : entry.type;
}

/** The same of a target. */
export function restoredContents(target: MemoryTarget): Map<string, string> {
  return new Map(
    [...target.entries].map(([path, { node, bytes }]) => {
      if (bytes !== undefined) return [path, `file ${Buffer.from(bytes).toString('base64')}`];
      return [path, node.type === 'symlink' ? `symlink ${node.linkTarget}` : node.type];
    }),
  );
}

/** Repeatable bytes that do not compress and have cuts. */
export function noise(sizeBytes: number, seed: number): Uint8Array {
  const bytes = new Uint8Array(sizeBytes);
  let state = (seed * 2_654_435_761 + 1) >>> 0;
  for (let at = 0; at < sizeBytes; at++) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    bytes[at] = state >>> 24;
  }
  return bytes;
}

export function text(content: string): MemoryEntry {
  return { type: 'file', bytes: Buffer.from(content) };
}
