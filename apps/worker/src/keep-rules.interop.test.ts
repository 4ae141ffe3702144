import { createRepository } from '@holdfast/engine/create-repository';
import { listSnapshots } from '@holdfast/engine/snapshots';
import { findStockRestics } from '@holdfast/engine/testing/stock-restic';
import { archiveTree, cheapKdf as kdf, text } from '@holdfast/engine/testing/test-repository';
import { keepByRules, parseKeepSpan, type KeepCandidate, type KeepRules } from '@holdfast/policy/keep-rules';
import { openLocalStorage } from '@holdfast/storage/local/local-storage';
import * as fc from 'fast-check';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const { found } = await findStockRestics();
const path = await mkdtemp(`${tmpdir()}/holdfast-keep-`);
let snapshots: KeepCandidate[] = [];

/** Close together and years apart, some in the future; all different, since restic takes equal times in any order. */
const times = fc.sample(
  fc.oneof(
    fc.integer({ min: 0, max: 3 * 24 * 60 }),
    fc.integer({ min: 0, max: 60 * 24 * 60 }),
    fc.integer({ min: -20 * 24 * 60, max: 4 * 365 * 24 * 60 }),
  ),
  { numRuns: 70, seed: 11 },
);
const now = new Date();

beforeAll(async () => {
  const storage = await openLocalStorage({ path });
  await using repository = await createRepository({ storage, password: 'secret', hostname: 'host', username: 'ann', kdf });
  for (const [nth, minutes] of [...new Set(times)].entries()) {
    const tags = ['a', 'b', 'c'].filter((_, bit) => ((nth * 5) >> bit) & 1);
    await archiveTree(repository, { file: text('x') }, { time: new Date(now.getTime() - minutes * 60_000), tags });
  }
  snapshots = (await listSnapshots(repository)).map(({ id, timeNs, tags = [] }) => ({
    id,
    time: new Date(Number(timeNs / 1_000_000n)),
    tags,
  }));
});
afterAll(() => rm(path, { recursive: true, force: true }));

const count = fc.option(fc.integer({ min: 1, max: 12 }), { nil: undefined });
const span = fc.option(fc.constantFrom('1h', '36h', '5d', '14d', '1m', '3m5d', '1y', '1y2m3d4h'), { nil: undefined });
const options = {
  last: count,
  hourly: count,
  daily: count,
  weekly: count,
  monthly: count,
  yearly: count,
  within: span,
  'within-hourly': span,
  'within-daily': span,
  'within-weekly': span,
  'within-monthly': span,
  'within-yearly': span,
};
/** Each with one of the options at least, so that something is kept: restic refuses to forget everything. */
const choices = fc.sample(fc.record(options, { requiredKeys: [] }), { numRuns: 200, seed: 5 });
const ruleSets = choices
  .map((choice) => Object.entries(choice).flatMap(([name, value]) => (value === undefined ? [] : [[name, value] as const])))
  .filter((choice) => choice.length > 0)
  // Few options at a time show more of each; a combination says less.
  .map((choice, nth) => (nth % 2 === 0 ? choice.slice(0, 1 + (nth % 4)) : choice.slice(-(nth % 4))))
  .slice(0, 100);

function rulesOf(choice: readonly (readonly [string, string | number])[]): KeepRules {
  const camel = (name: string): string => name.replaceAll(/-(.)/g, (_, letter: string) => letter.toUpperCase());
  return Object.fromEntries(choice.map(([name, value]) => [camel(name), typeof value === 'string' ? parseKeepSpan(value) : value]));
}

interface ForgetGroup {
  readonly keep: readonly { readonly id: string }[] | null;
}

describe.each(found)('keep rules as $name ($version) has them', (restic) => {
  const keptByRestic = async (args: readonly string[]): Promise<string[]> => {
    const printed = await restic.run(path, ['forget', '--dry-run', '--json', '--no-lock', '--group-by', '', ...args]);
    const line = printed.split('\n').find((one) => one.startsWith('['));
    const groups = JSON.parse(line ?? '[]') as ForgetGroup[];
    return groups.flatMap(({ keep }) => keep ?? []).map(({ id }) => id);
  };

  it('keep the same snapshots', async () => {
    const keepsOldest = Number(restic.version.split('.')[1]) >= 16;
    const oldestId = snapshots[0]?.id;
    expect(snapshots.length).toBeGreaterThan(60);
    for (const choice of ruleSets) {
      const theirs = await keptByRestic(choice.map(([name, value]) => `--keep-${name}=${value}`));
      const ours = keepByRules(snapshots, rulesOf(choice), new Date()).map(({ id }) => id);
      // Before 0.16 the oldest had no place of its own.
      const expected = keepsOldest ? theirs : [...theirs, ...ours.filter((id) => id === oldestId)];
      expect(new Set(ours), JSON.stringify(choice)).toEqual(new Set(expected));
    }
  });

  it('keep the same tags', async () => {
    for (const lists of [[['a']], [['a', 'b']], [['a', 'b'], ['c']]]) {
      const theirs = await keptByRestic(['--keep-last=1', ...lists.map((list) => `--keep-tag=${list.join(',')}`)]);
      const ours = keepByRules(snapshots, { last: 1, tags: lists }, new Date()).map(({ id }) => id);
      expect(new Set(ours)).toEqual(new Set(theirs));
    }
  });
});
