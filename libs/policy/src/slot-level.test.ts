import { expect, test } from 'vitest';
import { slotLevel, type SlotLevel, type SlotState } from './slot-level.ts';

const warningBytes = 1_000;
const state = (more: Partial<SlotState> = {}): SlotState => ({ walStatus: 'reserved', retainedBytes: 0, safeBytes: null, ...more });

test.each<[string, Partial<SlotState>, SlotLevel]>([
  ['keeps little', { retainedBytes: 999 }, 'ok'],
  ['keeps as much as the setting says', { retainedBytes: 1_000 }, 'warning'],
  ['keeps little beyond max_wal_size', { walStatus: 'extended', retainedBytes: 999 }, 'ok'],
  ['has a quarter of its limit left', { walStatus: 'extended', retainedBytes: 300, safeBytes: 100 }, 'ok'],
  ['has less than a quarter of its limit left', { walStatus: 'extended', retainedBytes: 301, safeBytes: 99 }, 'warning'],
  ['may be given up', { walStatus: 'unreserved', retainedBytes: 400, safeBytes: -10 }, 'critical'],
  ['is lost', { walStatus: 'lost' }, 'lost'],
  ['reserved nothing yet', { walStatus: null }, 'ok'],
])('a slot that %s', (_what, more, level) => {
  expect(slotLevel(state(more), warningBytes)).toBe(level);
});
