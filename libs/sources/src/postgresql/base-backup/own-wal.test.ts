import { expect, test } from 'vitest';
import { parseLsn } from '../lsn.ts';
import { assertOwnWal, ownWalEndS, type BackupPlaces } from './own-wal.ts';

const segmentSizeBytes = 16 * 1024 * 1024;
const segment = { sizeBytes: segmentSizeBytes, checksum: null };
const place = { timeline: 2, startLsn: parseLsn('0/2F000028'), endLsn: parseLsn('0/31000000') };
const places: BackupPlaces = { segmentSizeBytes, start: place, end: place };
const files = new Map([
  ['pg_wal/00000002000000000000002F', segment],
  ['pg_wal/000000020000000000000030', segment],
]);

test('all segments from the start to the last byte are enough', () => {
  expect(() => assertOwnWal(files, [place], places)).not.toThrow();
});

test.each([
  ['the first segment', new Map([...files].slice(1)), [place]],
  ['the last segment', new Map([...files].slice(0, 1)), [place]],
  ['a part of a segment', new Map([...files, ['pg_wal/000000020000000000000030', { sizeBytes: 8192, checksum: null }]]), [place]],
  ['the range', files, []],
  ['the end of the range', files, [{ ...place, endLsn: place.endLsn - 1n }]],
  ['the range of the same timeline', files, [{ ...place, timeline: 1 }]],
])('without %s it is not whole', (_, some, ranges) => {
  expect(() => assertOwnWal(some, ranges, places)).toThrow(expect.objectContaining({ code: 'postgresql_stream_damaged' }));
});

test('a backup that goes over to another timeline is taken again', () => {
  expect(() => assertOwnWal(files, [place], { ...places, end: { ...place, timeline: 3 } })).toThrow(
    expect.objectContaining({ code: 'postgresql_interrupted', retry: 'later' }),
  );
});

test('the last files that were added tell the time', () => {
  expect(ownWalEndS('pg_wal/archive_status/00000002000000000000002F.done', 1_700_000_000)).toBe(1_700_000_000);
  expect(ownWalEndS('pg_wal/00000002000000000000002F', 1_700_000_000)).toBeNull();
});
