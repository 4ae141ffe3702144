import { describe, expect, it } from 'vitest';
import type { MemoryEntry, MemoryFolder } from './testing/memory-source.ts';
import { openMemorySource } from './testing/memory-source.ts';
import { archiveTree, createTestRepository, impatientClock as clock, noise, text } from './testing/test-repository.ts';
import { verifyRestored, type VerifyRestoredResult } from './verify-restored.ts';

const big = noise(3_000_000, 7);
const entries: MemoryFolder = {
  a: text('aaa'),
  big: { type: 'file', bytes: big },
  link: { type: 'symlink', linkTarget: 'a' },
  sub: { type: 'dir', entries: { b: text('bbb') } },
};

/** Backs up `/data` with the entries above and compares it with a folder that holds `restored`. */
async function compare(restored: MemoryFolder, select?: { paths: string[] }): Promise<VerifyRestoredResult> {
  const repository = await createTestRepository();
  const { snapshotId } = await archiveTree(repository, { data: { type: 'dir', entries } });
  const source = openMemorySource({ scratch: { type: 'dir', entries: { data: { type: 'dir', entries: restored } } } });
  return await verifyRestored({ repository, snapshotId, source, restoredRoot: '/scratch', clock, ...(select ? { select } : {}) });
}

async function kindsOf(restored: MemoryFolder): Promise<string[]> {
  const { differences, differenceCount } = await compare(restored);
  expect(differences).toHaveLength(differenceCount);
  return differences.map(({ path, kind }) => `${path} ${kind}`);
}

describe('verifyRestored', () => {
  it('finds no difference in a true copy', async () => {
    expect(await compare(entries)).toEqual({ differences: [], differenceCount: 0, filesCompared: 3, bytesCompared: 3_000_006 });
  });

  it('finds every kind of difference', async () => {
    expect(await kindsOf({ ...entries, big: { type: 'file', bytes: big.with(2_999_999, (big[2_999_999] ?? 0) ^ 1) } })).toEqual([
      '/data/big content',
    ]);
    expect(await kindsOf({ ...entries, a: text('aaaa') })).toEqual(['/data/a size']);
    expect(await kindsOf({ ...entries, a: { type: 'file', bytes: Buffer.from('aaa'), mode: 0o600 } })).toEqual(['/data/a mode']);
    expect(await kindsOf({ ...entries, a: { type: 'file', bytes: Buffer.from('aaa'), modifiedNs: 1n } })).toEqual([
      '/data/a modified_time',
    ]);
    expect(await kindsOf({ ...entries, link: { type: 'symlink', linkTarget: 'b' } })).toEqual(['/data/link link_target']);
    expect(await kindsOf({ ...entries, link: text('a') })).toEqual(['/data/link type']);
    expect(await kindsOf({ ...entries, more: text('x') })).toEqual(['/data/more unexpected']);
    const { sub, ...others } = entries as Record<string, MemoryEntry>;
    expect(sub?.type).toBe('dir');
    expect(await kindsOf(others)).toEqual(['/data/sub missing']);
  });

  it('compares the selected part only', async () => {
    const part: MemoryFolder = { sub: { type: 'dir', entries: { b: text('bbb') } } };
    expect(await compare(part, { paths: ['/data/sub'] })).toMatchObject({ differenceCount: 0, filesCompared: 1 });
    expect(await compare(part)).toMatchObject({ differenceCount: 3 });
  });
});
