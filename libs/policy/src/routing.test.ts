import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  carriesLabel,
  copyWorkerLabel,
  isWorkerLabel,
  parseWorkerLabels,
  repositoryWorkerLabel,
  waitingMessage,
  waitingSince,
  workerLabelMaxChars,
  workerLabelsMaxCount,
} from './routing.ts';

const at = (minute: number): Date => new Date(Date.UTC(2026, 0, 1, 0, minute));
const worker = (labels: string[], labelsOnly = false) => ({ labels, labelsOnly });

describe('labels', () => {
  test.each(['a', 'site-berlin', 'host:db1', 'db1.internal', 'a_b', '0', 'x'.repeat(workerLabelMaxChars)])('may be %s', (label) => {
    expect(isWorkerLabel(label)).toBe(true);
  });

  test.each(['', 'Berlin', 'a b', '-a', 'a-', ':', 'a/b', 'a~b', 'ä', 'a\n', '../x', 'x'.repeat(workerLabelMaxChars + 1)])(
    'may not be %j',
    (label) => {
      expect(isWorkerLabel(label)).toBe(false);
    },
  );

  test('are read with commas between them, each once', () => {
    expect(parseWorkerLabels(' site-berlin, host:db1,,host:db1 ')).toEqual(['site-berlin', 'host:db1']);
    expect(parseWorkerLabels('')).toEqual([]);
  });

  test('are refused with the one that is wrong, and when they are too many', () => {
    expect(() => parseWorkerLabels('ok,Not Ok')).toThrow('"Not Ok" is no label of a worker');
    const many = Array.from({ length: workerLabelsMaxCount + 1 }, (_, nth) => `l${nth}`);
    expect(parseWorkerLabels(many.slice(1).join(','))).toHaveLength(workerLabelsMaxCount);
    expect(() => parseWorkerLabels(many.join(','))).toThrow(`at most ${workerLabelsMaxCount} labels`);
  });
});

describe('which worker may do what', () => {
  test.each([
    [worker([]), null, true],
    [worker([]), 'a', false],
    [worker(['a', 'b']), 'b', true],
    [worker(['a', 'b']), 'c', false],
    [worker(['a']), null, true],
    [worker(['a'], true), null, false],
    [worker(['a'], true), 'a', true],
  ])('%j and %j: %s', (who, label, expected) => {
    expect(carriesLabel(who, label)).toBe(expected);
  });

  test('runs of a repository in a local folder go where all of its configs go', () => {
    const local = (...configLabels: (string | null)[]) => repositoryWorkerLabel({ isLocalFolder: true, configLabels });
    expect([local(), local('a'), local('a', 'a'), local('a', 'b'), local('a', null), local(null)]).toEqual([
      null,
      'a',
      'a',
      null,
      null,
      null,
    ]);
    expect(repositoryWorkerLabel({ isLocalFolder: false, configLabels: ['a', 'a'] })).toBeNull();
  });

  test('copies go where they are read, else where they are written', () => {
    expect([copyWorkerLabel('a', 'b'), copyWorkerLabel(null, 'b'), copyWorkerLabel('a', null), copyWorkerLabel(null, null)]).toEqual([
      'a',
      'b',
      'a',
      null,
    ]);
  });
});

describe('a run waits', () => {
  test('since it was queued, or since its last worker was gone', () => {
    const run = { workerLabel: 'a', queuedAt: at(10) };
    expect(waitingSince(run, [], undefined)).toEqual(at(10));
    expect(waitingSince(run, [worker(['b'])], at(5))).toEqual(at(10));
    expect(waitingSince(run, [worker(['b'])], at(15))).toEqual(at(15));
    expect(waitingSince(run, [worker(['b']), worker(['a'])], at(5))).toBeNull();
  });

  test('exactly when no worker may do it', () => {
    const label = fc.constantFrom('a', 'b', 'c');
    const workers = fc.array(fc.record({ labels: fc.uniqueArray(label), labelsOnly: fc.boolean() }));
    fc.assert(
      fc.property(workers, fc.option(label, { nil: null }), (alive, workerLabel) => {
        const since = waitingSince({ workerLabel, queuedAt: at(0) }, alive, undefined);
        expect(since === null).toBe(alive.some((each) => carriesLabel(each, workerLabel)));
      }),
    );
  });

  test('for what its message names', () => {
    expect(waitingMessage('site-berlin')).toContain('no worker with the label site-berlin is alive');
    expect(waitingMessage(null)).toContain('no worker that takes runs without a label is alive');
  });
});
