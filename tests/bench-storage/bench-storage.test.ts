import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { planFiles } from '../../scripts/bench-engine/data-plan.ts';
import { treeSizeBytes } from '../../scripts/bench/tree-size.ts';
import { summarizeStorage, type StorageRun } from '../../scripts/bench-storage/storage-bars.ts';
import { parseStorageBenchOptions } from '../../scripts/bench-storage/storage-bench-options.ts';
import { backupScale, makePacks, packCountOf } from '../../scripts/bench-storage/storage-data.ts';

describe('the data', () => {
  test('has the size that was asked for', () => {
    const sizeBytes = planFiles(backupScale(1000)).reduce((sum, file) => sum + file.sizeBytes, 0);
    expect(sizeBytes / 1e9).toBeCloseTo(1, 1);
    expect([1000, 100, 1].map(packCountOf)).toEqual([64, 6, 1]);
  });

  test('has packs that differ', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'holdfast-packs-'));
    onTestFinished(() => rm(folder, { recursive: true }));
    const sizeBytes = makePacks(folder, 2);
    expect(treeSizeBytes(folder)).toBe(sizeBytes);
  });
});

describe('the command line', () => {
  test('has defaults, and quick ones', () => {
    const kinds = ['s3', 'azure_blob', 'sftp', 'ftp'];
    expect(parseStorageBenchOptions([], '/here')).toMatchObject({ kinds, sizeMb: 1000, rounds: 3, connections: 8, peers: true });
    expect(parseStorageBenchOptions([], '/here').delayMs).toBeUndefined();
    expect(parseStorageBenchOptions(['--quick', '--rounds', '2'], '/here')).toMatchObject({ sizeMb: 100, rounds: 2 });
    expect(parseStorageBenchOptions(['--json', 'a.json', '--delay', '25'], '/here')).toMatchObject({ json: '/here/a.json', delayMs: 25 });
  });

  test.each([['--size', 'huge'], ['--rounds', '0'], ['--kinds', 'tape'], ['--steps', 'upload'], ['--unknown']])(
    'refuses %s %s',
    (...args) => {
      expect(() => parseStorageBenchOptions(args, '/')).toThrow(/there is no|takes a number|Unknown option/);
    },
  );
});

describe('the summary', () => {
  const cost = { userMs: 500, systemMs: 500, peakRssBytes: 1e8, floorRssBytes: 0, othersCpuMs: 2000, round: 1, bytes: 1e9 } as const;
  type Given = Pick<StorageRun, 'step' | 'tool' | 'wallMs'> & Partial<StorageRun>;
  const run = (more: Given): StorageRun => ({ ...cost, kind: 's3', way: 'straight', ...more });
  const linesOf = (runs: readonly StorageRun[]): string[] => summarizeStorage(runs).table.split('\n').slice(2);

  test('compares medians of one step at one kind of server with the bar', () => {
    const ours = [1000, 9000, 2000].map((wallMs) => run({ step: 'transfer up', tool: 'holdfast', wallMs }));
    const peers = [1900, 1700].map((wallMs) => run({ step: 'transfer up', tool: 'rclone', wallMs }));
    const others = [run({ step: 'transfer up', tool: 'holdfast', wallMs: 1, kind: 'sftp' })];
    const lines = linesOf([...ours, ...peers, ...others]);
    expect(lines[0]).toMatch(/^s3 transfer up +holdfast +2\.00 +500 +1\.00 +2\.00 +100$/);
    expect(lines[1]).toMatch(/^s3 transfer up +rclone +1\.80 +556 +0\.90 \(≥ 0\.9 ok\) +1\.00 +2\.00 +100$/);
    expect(lines[2]).toMatch(/^sftp transfer up +holdfast +0\.00/);
  });

  test('compares a line that delays with the same line that does not', () => {
    const runs = (['straight', 'line', 'delayed'] as const).map((way, nth) =>
      run({ step: 'transfer down', tool: 'holdfast', way, wallMs: 1000 + nth * 500 }),
    );
    const lines = linesOf(runs);
    expect(lines[2]).toMatch(/^s3 transfer down, delayed +holdfast +2\.00 +500 +0\.75 \(≥ 0\.8 no\)/);
    expect(lines.slice(0, 2).join('\n')).not.toContain('≥');
  });

  test('says where memory is above its bar, and judges nothing alone or where there is no bar', () => {
    const peakRssBytes = 5e8;
    const alone = linesOf([run({ step: 'backup', tool: 'holdfast', wallMs: 1000, peakRssBytes })]).join('\n');
    expect(alone).toContain('500 (≤ 419 no)');
    expect(alone).not.toContain('≥');
    const tools = ['holdfast', 'rclone'] as const;
    const ftp = linesOf(tools.map((tool) => run({ step: 'transfer up', kind: 'ftp', tool, wallMs: 1000, peakRssBytes }))).join('\n');
    expect(ftp).not.toMatch(/[≥≤]/);
  });
});
