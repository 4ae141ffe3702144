import type { ErrorCode } from '@holdfast/errors/error-codes';
import { HoldfastError } from '@holdfast/errors/holdfast-error';

/**
 * What a server's log says of a recovery that failed. With `lc_messages = C` the words are the program's own, the same from 14 to 18;
 * the exit code says nothing.
 */
interface Reading {
  readonly pattern: RegExp;
  readonly code: ErrorCode;
  readonly what: string;
  readonly hint?: string;
}

/** The first that is found in the log counts. Source: src/backend/access/transam/xlogrecovery.c, xlog.c, xlogarchive.c, timeline.c. */
const readings: readonly Reading[] = [
  {
    pattern: /recovery ended before configured recovery target was reached/u,
    code: 'postgresql_target_uncovered',
    what: 'WAL ends before the recovery target',
    hint: 'choose an earlier target, or the latest state',
  },
  {
    pattern: /requested recovery stop point is before consistent recovery point/u,
    code: 'postgresql_target_uncovered',
    what: 'the recovery target lies before the end of the base backup',
    hint: 'choose a later target, or an earlier base backup',
  },
  {
    pattern: /WAL ends before (?:end of online backup|consistent recovery point)/u,
    code: 'postgresql_wal_missing',
    what: 'WAL that the base backup itself needs is missing',
  },
  {
    pattern:
      /could not (?:locate|find) (?:a valid|required|redo) (?:checkpoint|location)|could not find redo location|invalid checkpoint record/u,
    code: 'postgresql_wal_missing',
    what: 'WAL with the checkpoint that the base backup begins with is missing',
  },
  {
    pattern: /requested timeline \d+ (?:is not a child|does not contain)|recovery target timeline \d+ does not exist/u,
    code: 'postgresql_wal_missing',
    what: 'the history of the wanted timeline does not lead to it from the base backup',
  },
  { pattern: /archive file ".*" has wrong size/u, code: 'postgresql_wal_missing', what: 'a segment of WAL is not whole' },
  {
    pattern: /resource manager with ID \d+ not registered/u,
    code: 'postgresql_recovery_failed',
    what: 'WAL was written by an extension that the server has to load at its start',
    hint: 'install the extension at the worker and name its library as one to preload',
  },
  { pattern: /No space left on device/u, code: 'disk_full', what: 'the disk is full' },
];

/** What is looked at of a log: the reasons are at its end. */
export const logTailBytes = 64 * 1024;

/** More does not help whoever reads it. */
const maxSaidLength = 600;

/** The error for a server that ended while it recovered, from the end of its log. It quotes what the server said last. */
export function recoveryError(log: string): HoldfastError {
  const found = readings.find(({ pattern }) => pattern.test(log));
  const said = lastWords(log);
  const quoted = said === '' ? '' : `; the server said: ${said}`;
  const what = found?.what ?? 'the server ended while it recovered';
  return new HoldfastError(
    found?.code ?? 'postgresql_recovery_failed',
    what + quoted,
    found?.hint === undefined ? {} : { hint: found.hint },
  );
}

/** The last line of the worst kind, with what belongs to it, without times and process ids. */
function lastWords(log: string): string {
  const lines = log.split('\n').map((line) => line.replace(/^\d{4}-\d\d-\d\d \S+ \w+ \[\d+\] /u, ''));
  const index = Math.max(...['PANIC:', 'FATAL:'].map((level) => lines.findLastIndex((line) => line.startsWith(level))));
  if (index < 0) return lines.findLast((line) => line.trim() !== '')?.slice(0, maxSaidLength) ?? '';
  const details = lines.slice(index + 1, index + 3).filter((line) => /^(?:DETAIL|HINT):/u.test(line));
  return [lines[index], ...details].join(' ').replaceAll(/\s+/gu, ' ').slice(0, maxSaidLength);
}
