import { describe, expect, test } from 'vitest';
import { changeDataSql, contents, makeDataSql, rowCountOf } from '../../scripts/bench-postgres/made-data.ts';
import { parsePostgresBenchOptions } from '../../scripts/bench-postgres/postgres-bench-options.ts';
import { summarizePostgres, type PostgresRun } from '../../scripts/bench-postgres/postgres-bars.ts';

describe('the data', () => {
  test.each(contents)('of %s changes a twentieth of its rows, others in each round', (content) => {
    const share = Math.floor(Math.floor(rowCountOf(content, 2e9) / 2) / 20);
    const ranges = [1, 2, 3].flatMap((round) =>
      changeDataSql(content, 2e9, round).map((sql) => {
        const [, from, to] = /id >= (\d+) AND id < (\d+)/.exec(sql) ?? [];
        return [Number(from), Number(to)] as const;
      }),
    );
    for (const [from, to] of ranges) expect(to - from).toBe(share);
    expect(new Set(ranges.map(([from]) => from)).size).toBe(6);
  });

  test('is made by the same statements each time', () => {
    expect(makeDataSql('6:1', 1e8)).toEqual(makeDataSql('6:1', 1e8));
    expect(makeDataSql('6:1', 1e8)).not.toEqual(makeDataSql('2:1', 1e8));
  });
});

describe('the command line', () => {
  test('has defaults, and small and quick ones', () => {
    expect(parsePostgresBenchOptions([], '/here')).toMatchObject({ sizeBytes: 2e9, rounds: 3, contents: ['2:1', '6:1'], peers: true });
    expect(parsePostgresBenchOptions(['--size', 'small'], '/here')).toMatchObject({ sizeBytes: 4e8 });
    expect(parsePostgresBenchOptions(['--quick', '--rounds', '2'], '/here')).toMatchObject({ sizeBytes: 1e8, rounds: 2 });
    expect(parsePostgresBenchOptions(['--json', 'a.json'], '/here')).toMatchObject({ json: '/here/a.json' });
  });

  test.each([['--size', 'huge'], ['--rounds', '0'], ['--content', '3:1'], ['--unknown']])('refuses %s %s', (...args) => {
    expect(() => parsePostgresBenchOptions(args, '/')).toThrow(/there is no|takes a number|Unknown option/);
  });
});

describe('the summary', () => {
  const cost = { userMs: 500, systemMs: 500, peakRssBytes: 1e8, floorRssBytes: 0, content: '2:1' } as const;
  const run = (more: Pick<PostgresRun, 'step' | 'tool' | 'wallMs'> & Partial<PostgresRun>): PostgresRun => ({ ...cost, round: 1, ...more });

  test('compares medians of one step and one content with the bar', () => {
    const ours = [1000, 9000, 2000].map((wallMs) => run({ step: 'second full', tool: 'holdfast', wallMs, writtenBytes: 1e6 }));
    const peers = [3000, 3100].map((wallMs) => run({ step: 'second full', tool: 'pgbackrest', wallMs, writtenBytes: 2e6 }));
    const lines = summarizePostgres([...ours, ...peers]).table.split('\n');
    expect(lines[2]).toMatch(/^2:1 second full +holdfast +2\.00 +1\.00 +100 +1\.00$/);
    expect(lines[3]).toMatch(/^2:1 second full +pgbackrest +3\.05 +1\.52 \(≥ 1\.5 ok\) +1\.00 +100 +2\.00 +2\.00 \(≥ 3 no\)$/);
  });

  test('says where memory is above its bar, and judges nothing alone', () => {
    const { table } = summarizePostgres([run({ step: 'first full', tool: 'holdfast', wallMs: 1000, peakRssBytes: 5e8 })]);
    expect(table).toContain('500 (≤ 419 no)');
    expect(table).not.toContain('≥');
  });

  test('has nothing to divide by when ours was not measured', () => {
    expect(summarizePostgres([run({ step: 'first full', tool: 'pgbackrest', wallMs: 1000 })]).table).toMatch(/pgbackrest +1\.00 +-/);
  });
});
