import { expect, test } from 'vitest';
import { createDownloadSlots, downloadsMaxCount, downloadsOfCallerMaxCount } from './download-slots.ts';

test('a caller has so many downloads at a time, whatever others have', () => {
  const slots = createDownloadSlots();
  const releases = Array.from({ length: downloadsOfCallerMaxCount }, () => slots.take('ann'));
  expect(() => slots.take('ann')).toThrow(`${downloadsOfCallerMaxCount} downloads of this caller are under way already`);
  const ofBob = slots.take('bob');
  for (const release of releases) release();
  ofBob();
  // Twice is no error, and makes no more room.
  ofBob();
  for (let nth = 0; nth < downloadsOfCallerMaxCount; nth++) slots.take('ann');
  expect(() => slots.take('ann')).toThrow('downloads of this caller');
});

test('all callers together have so many', () => {
  const slots = createDownloadSlots();
  for (let nth = 0; nth < downloadsMaxCount; nth++) slots.take(`caller ${nth}`);
  expect(() => slots.take('one more')).toThrow(`${downloadsMaxCount} downloads are under way already`);
});
