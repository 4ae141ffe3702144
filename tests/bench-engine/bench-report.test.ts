import { describe, expect, test } from 'vitest';
import { parseBenchOptions } from '../../scripts/bench-engine/bench-options.ts';
import { formatBar, judge } from '../../scripts/bench-engine/bars.ts';
import { formatNumber, formatTable } from '../../scripts/bench/report-table.ts';
import { summarize } from '../../scripts/bench-engine/standard-summary.ts';
import { median, ratio } from '../../scripts/bench/statistics.ts';

describe('median', () => {
  test('is the middle one, whatever the order', () => expect(median([30, 1, 2])).toBe(2));
  test('lies between the two in the middle', () => expect(median([4, 1, 3, 100])).toBe(3.5));
  test('of nothing is no number', () => expect(median([])).toBeNaN());
});

test('a ratio to what was not measured is no number', () => {
  expect(ratio(3, 2)).toBe(1.5);
  for (const [value, base] of [
    [undefined, 2],
    [3, undefined],
    [3, 0],
  ] as const)
    expect(ratio(value, base)).toBeNaN();
});

describe('a bar', () => {
  test('of time is reached from below, of cost from above, and at its edge', () => {
    expect(judge('unchanged backup', 'wall', 3.5)).toMatchObject({ bar: 3.5, reached: true });
    expect(judge('unchanged backup', 'wall', 3.49).reached).toBe(false);
    expect(judge('restore', 'peakRss', 1.5).reached).toBe(true);
    expect(judge('restore', 'peakRss', 1.51).reached).toBe(false);
  });

  test('is never reached without restic, and says nothing then', () => {
    for (const metric of ['wall', 'cpu'] as const) expect(judge('restore', metric, Number.NaN).reached).toBe(false);
    expect(formatBar(judge('restore', 'cpu', Number.NaN))).toBe('-');
  });

  test('tells its side', () => {
    expect(formatBar(judge('first backup', 'wall', 1.704))).toBe('1.70 (≥ 2 no)');
    expect(formatBar(judge('first backup', 'cpu', 0.5))).toBe('0.50 (≤ 0.6 ok)');
  });
});

test('a table has its columns under each other', () => {
  expect(
    formatTable(
      ['step', 'tool', 's'],
      [
        ['restore', 'a', '10.5'],
        ['check', 'restic', ''],
      ],
    ),
  ).toBe(['step     tool       s', '-------  ------  ----', 'restore  a       10.5', 'check    restic'].join('\n'));
});

test('numbers have three digits that matter', () => {
  expect([0.1234, 1.234, 12.34, 123.4, Number.NaN, undefined].map(formatNumber)).toEqual(['0.12', '1.23', '12.3', '123', '-', '-']);
});

describe('the summary', () => {
  const cost = { systemMs: 0, floorRssBytes: 0, peakRssBytes: 2e8, round: 1, step: 'first backup' } as const;
  const ours = [1000, 3000, 2000].map((wallMs) => ({ ...cost, tool: 'holdfast' as const, wallMs, userMs: 1000, repositorySizeBytes: 1e6 }));
  const restics = [6000, 5000, 4000].map((wallMs) => ({
    ...cost,
    tool: 'restic' as const,
    wallMs,
    userMs: 4000,
    repositorySizeBytes: 1e6,
  }));
  const data = { fileCount: 1, sizeBytes: 1, changedCount: 1 };
  const tools = [
    { name: 'holdfast', version: '1' },
    { name: 'restic', version: '2' },
  ] as const;

  test('compares medians', () => {
    const { table, notes } = summarize({ runs: [...ours, ...restics], data, tools, verified: ['all is well'] });
    expect(table.split('\n')[2]).toMatch(
      /^first backup +holdfast +2\.00 +2\.50 \(≥ 2 ok\) +1\.00 +0\.25 \(≤ 0\.6 ok\) +200 +1\.00 .*ok\) +1\.00 +1\.00/,
    );
    expect(table.split('\n')[3]).toMatch(/^first backup +restic +5\.00 +4\.00 +200 +1\.00$/);
    expect(notes).toContain('bars reached: 4 of 4');
    expect(notes).toContain('all is well');
  });

  test('of one tool alone judges nothing', () => {
    const { table, notes } = summarize({ runs: ours, data, tools: tools.slice(0, 1), verified: [] });
    expect(table.split('\n')).toHaveLength(3);
    expect(notes).toContain('bars reached: 0 of 0');
  });
});

describe('the command line', () => {
  test('has defaults', () => {
    expect(parseBenchOptions([], '/here')).toMatchObject({ scenario: 'standard', quick: false, rounds: 3, dir: undefined });
  });

  test('takes paths from where the caller is', () => {
    expect(parseBenchOptions(['--json', 'a.json', '--dir=/b'], '/here')).toMatchObject({ json: '/here/a.json', dir: '/b' });
  });

  test.each([['--rounds', '0'], ['--rounds', 'many'], ['--scenario', 'other'], ['--tools', 'restic,tar'], ['--unknown']])(
    'refuses %s %s',
    (...args) => {
      expect(() => parseBenchOptions(args, '/')).toThrow(/there is no|takes a number|Unknown option/);
    },
  );
});
