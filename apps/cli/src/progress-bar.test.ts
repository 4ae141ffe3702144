import { afterEach, expect, test, vi } from 'vitest';
import type { Progress } from '@holdfast/jobs/progress';
import { formatProgress, openProgressBar, progressShare } from './progress-bar.ts';

const mib = 1024 * 1024;
const halfway: Progress = {
  phase: 'archive',
  filesDone: 310,
  filesTotal: 1_640,
  bytesDone: 12 * mib,
  bytesTotal: 24 * mib,
  bytesPerSecond: 40 * mib,
  elapsedMs: 300,
  remainingMs: 75_000,
};

function screen(isTTY: boolean, columns = 200) {
  const written: string[] = [];
  return { written, isTTY, columns, write: (text: string) => written.push(text) > 0 };
}

afterEach(() => vi.unstubAllEnvs());

test('a bar names phase, share, bytes, files, rate and what remains', () => {
  expect(formatProgress(halfway)).toBe(
    `archive  ${'█'.repeat(12)}${'░'.repeat(12)}   50%  12.0 MiB of 24.0 MiB  310 of 1,640 files  40.0 MiB/s  1:15 left`,
  );
});

test('without totals it says what is done and draws no bar', () => {
  const unknown = { ...halfway, bytesTotal: null, filesTotal: null, remainingMs: null, bytesPerSecond: 0 };
  expect(formatProgress(unknown)).toBe('archive  12.0 MiB  310 files');
  expect(progressShare(unknown)).toBeNull();
});

test('a total that was estimated too low does not go beyond the end, and no bytes means that files count', () => {
  expect(progressShare({ ...halfway, bytesDone: 30 * mib })).toBe(1);
  expect(progressShare({ ...halfway, bytesTotal: 0 })).toBeCloseTo(310 / 1_640);
});

test('a terminal sees one line redrawn, never wider than itself', () => {
  const stream = screen(true, 40);
  const bar = openProgressBar('backup', stream, () => 0);
  bar.show(halfway);
  bar.show(halfway);
  bar.clear();
  bar.clear();
  expect(stream.written).toHaveLength(3);
  expect(stream.written.every((text) => text.startsWith('\r\u001B[2K') && !text.includes('\n'))).toBe(true);
  // oxlint-disable-next-line no-control-regex -- the escapes that a terminal does not show
  expect((stream.written[0] ?? '').replaceAll(/\r|\u001B\[[\d;]*[A-Za-z]/g, '')).toHaveLength(39);
});

test('NO_COLOR takes the colours away from a terminal, and an empty one does not', () => {
  const coloured = '\u001B[36m';
  vi.stubEnv('NO_COLOR', '1');
  const plain = screen(true);
  openProgressBar('backup', plain, () => 0).show(halfway);
  expect(plain.written.join('')).not.toContain(coloured);
  vi.stubEnv('NO_COLOR', '');
  const painted = screen(true);
  openProgressBar('backup', painted, () => 0).show(halfway);
  expect(painted.written.join('')).toContain(coloured);
});

test('a pipe gets a plain line every few seconds', () => {
  const stream = screen(false);
  let nowMs = 0;
  const bar = openProgressBar('backup', stream, () => nowMs);
  for (nowMs = 0; nowMs <= 6_000; nowMs += 500) bar.show(halfway);
  bar.clear();
  expect(stream.written).toHaveLength(3);
  expect(stream.written.every((text) => text.endsWith(' left\n') && !text.includes('\u001B'))).toBe(true);
});
