import { expect, test } from 'vitest';
import { consoleTextOf } from './log-line.ts';

const line = (value: object): string => JSON.stringify(value);

test('errors are told in a sentence, by number or by name, without their stack', () => {
  expect(consoleTextOf(line({ level: 50, msg: 'run failed', err: { code: 'disk_full', message: 'no space', stack: '…' } }))).toBe(
    'run failed: disk_full: no space',
  );
  expect(consoleTextOf(line({ level: 'error', msg: 'api stopped', reason: 'Error: no table\n    at main.ts:1' }))).toBe(
    'api stopped: Error: no table',
  );
  expect(consoleTextOf(line({ level: 60, msg: 'same', err: { message: 'same' } }))).toBe('same');
  expect(consoleTextOf(line({ level: 50 }))).toBe('error');
});

test('anything less stays in the log', () => {
  for (const level of [10, 30, 40, 'info', 'warn']) expect(consoleTextOf(line({ level, msg: 'x' }))).toBeUndefined();
  expect(consoleTextOf('  ')).toBeUndefined();
});

test('what is no log line is told as it is', () => {
  for (const text of ['Error: boom', '{"level":', '{"other":1}', '[1]']) expect(consoleTextOf(text)).toBe(text);
});
