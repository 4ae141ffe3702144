import { expect, test } from 'vitest';
import { decodeWalDataStart, encodeStatus, wantsReply } from './wal-message.ts';
import { parseTimelineHistory } from './timeline-history.ts';

test('a status as the server reads it', () => {
  const status = encodeStatus(0x1_0000_0002n, 0x1_0000_0001n, Date.UTC(2000, 0, 1, 0, 0, 1));
  expect(status.toString('hex')).toBe(['72', '0000000100000002', '0000000100000001', '0'.repeat(16), '00000000000f4240', '00'].join(''));
});

test('places and signs of life', () => {
  expect(decodeWalDataStart(Buffer.from(`770000000100000002${'00'.repeat(16)}`, 'hex'))).toBe(0x1_0000_0002n);
  expect(wantsReply(Buffer.from(`6b${'00'.repeat(16)}01`, 'hex'))).toBe(true);
  expect(wantsReply(Buffer.from(`6b${'00'.repeat(17)}`, 'hex'))).toBe(false);
});

test('a history file', () => {
  const text = '# made by hand\n1\t0/5000148\tno recovery target specified\n\n2\t1/70000A0\tbefore 2026-11-25 19:00:00+00\n';
  expect(parseTimelineHistory(Buffer.from(text))).toEqual([
    { timeline: 1, endLsn: 0x5000148n },
    { timeline: 2, endLsn: 0x1_0700_00a0n },
  ]);
  expect(parseTimelineHistory(Buffer.alloc(0))).toEqual([]);
  expect(() => parseTimelineHistory(Buffer.from('one\t0/1\n'))).toThrow(expect.objectContaining({ code: 'postgresql_stream_damaged' }));
});
