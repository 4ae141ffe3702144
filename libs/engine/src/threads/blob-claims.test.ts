import { hash } from 'node:crypto';
import { expect, it } from 'vitest';
import { makeSharedClaims, openBlobClaims } from './blob-claims.ts';
import { openThreadPool } from './thread-pool.ts';

const idOf = (nth: number): Uint8Array => new Uint8Array(hash('sha256', String(nth), 'buffer'));

it('gives each id to the first who asks, past the size of the first table', () => {
  const shared = makeSharedClaims();
  const [first, second] = [openBlobClaims(shared), openBlobClaims(shared)];
  const ids = Array.from({ length: 60_000 }, (_, nth) => idOf(nth));
  expect(ids.filter((id, nth) => (nth % 2 === 0 ? first : second).claim(id)).length).toBe(60_000);
  expect(ids.filter((id, nth) => (nth % 3 === 0 ? first : second).claim(id)).length).toBe(0);
});

it('gives each id to one of several threads', async () => {
  const module = new URL('../testing/claiming-session.ts', import.meta.url);
  const signal = new AbortController().signal;
  await using pool = openThreadPool({ concurrency: 3 });
  await using group = pool.openGroup({ module, data: makeSharedClaims(), signal });
  const counts = await group.callAll(30_000);
  // A few may be claimed twice, at the moment when a table fills.
  expect(counts.map(Number).reduce((sum, count) => sum + count)).toBeGreaterThanOrEqual(30_000);
  expect(counts.map(Number).reduce((sum, count) => sum + count)).toBeLessThan(30_010);
});
