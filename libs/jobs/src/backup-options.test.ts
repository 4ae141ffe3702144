import { expect, it } from 'vitest';
import { backupOptionsSchema, compressionOf, isCompressionContradictory, parseBackupOptions } from './backup-options.ts';

const all = {
  compression: 'better',
  concurrency: 64,
  uploadBytesPerSecond: 16_384,
  downloadBytesPerSecond: 1_000_000_000_000,
  lowPriority: true,
} as const;

it('keeps what is given, and makes nothing up', () => {
  expect(parseBackupOptions(all)).toEqual(all);
  expect(parseBackupOptions({})).toEqual({});
});

it.each([
  ['compression', 'lzma'],
  ['concurrency', 0],
  ['concurrency', 65],
  ['concurrency', 1.5],
  ['uploadBytesPerSecond', 16_383],
  ['downloadBytesPerSecond', 1e13],
  ['lowPriority', 'yes'],
])('refuses %s: %j', (field, value) => {
  const parsed = backupOptionsSchema.safeParse({ ...all, [field]: value });
  expect(parsed.error?.issues.map(({ path }) => path)).toEqual([[field]]);
});

it('refuses what it does not know', () => {
  expect(() => parseBackupOptions({ colour: 'red' })).toThrow('colour');
  expect(() => parseBackupOptions(null)).toThrow('backup options do not fit');
});

it.each([
  [true, undefined, 'auto', false],
  [true, 'max', 'max', false],
  [true, 'off', 'off', false],
  [false, undefined, 'off', false],
  [false, 'off', 'off', false],
  [false, 'auto', 'off', true],
] as const)('compressionEnabled %j with the mode %j is %s', (isEnabled, compression, mode, contradicts) => {
  const options = compression === undefined ? {} : { compression };
  expect(compressionOf(isEnabled, options)).toBe(mode);
  expect(isCompressionContradictory(isEnabled, options)).toBe(contradicts);
});
