import { isHoldfastError } from '@holdfast/errors/holdfast-error';
import { invariant } from '@holdfast/errors/invariant';
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { assertSchedule, isTimeZone, nextTick, previousTick, type Schedule } from './schedule.ts';

const daily: Schedule = { pattern: '0 3 * * *', timeZone: 'UTC' };

const tick = (at: Date | undefined): Date => {
  invariant(at !== undefined, 'there is a tick');
  return at;
};

const invalid = (schedule: Schedule): boolean => {
  try {
    assertSchedule(schedule);
    return false;
  } catch (error) {
    return isHoldfastError(error, 'schedule_invalid');
  }
};

describe('assertSchedule', () => {
  test.each(['0 3 * * *', '*/5 * * * *', '*/2 * * * * *', '0 0 29 2 *', '15 10 * * MON-FRI', '0 3 L * *', '0 0 1 MAR *', '0 0 * * THU'])(
    'takes %s',
    (pattern) => expect(invalid({ ...daily, pattern })).toBe(false),
  );

  test.each([
    '',
    ' ',
    '* * * *',
    '* * * * * * *',
    '60 * * * *',
    '0 24 * * *',
    'x * * * *',
    '@daily',
    'H H * * *',
    'H(0-5) 3 * * *',
    '0 0 30 2 *',
  ])('refuses %j', (pattern) => expect(invalid({ ...daily, pattern })).toBe(true));

  test('refuses an expression that would not end', () => expect(invalid({ ...daily, pattern: `${'1,'.repeat(500)}1 * * * *` })).toBe(true));

  test.each(['', 'Europe/Nowhere', '+02:00', 'Mars', 'Europe/Berlin\0'])('refuses the time zone %j', (timeZone) =>
    expect(invalid({ ...daily, timeZone })).toBe(true),
  );

  test('knows zones', () => expect(['UTC', 'Europe/Berlin', 'America/St_Johns'].every(isTimeZone)).toBe(true));
});

describe('ticks', () => {
  const patterns = fc.constantFrom('*/7 * * * *', '0 3 * * *', '15 2 * * 0', '0 0 1 * *', '*/20 * * * * *');
  const times = fc.date({ min: new Date('2020-01-01'), max: new Date('2035-01-01'), noInvalidDate: true });

  test('are read in the time zone', () => {
    const next = nextTick({ pattern: '0 3 * * *', timeZone: 'Europe/Berlin' }, new Date('2026-01-10T00:00:00Z'));
    expect(next?.toISOString()).toBe('2026-01-10T02:00:00.000Z');
  });

  test('follow summer time', () => {
    const schedule = { pattern: '0 3 * * *', timeZone: 'Europe/Berlin' };
    expect(nextTick(schedule, new Date('2026-07-10T00:00:00Z'))?.toISOString()).toBe('2026-07-10T01:00:00.000Z');
  });

  test('come once a day over a year with both changes of the clock', () => {
    const schedule = { pattern: '30 2 * * *', timeZone: 'Europe/Berlin' };
    let at = new Date('2026-01-01T00:00:00Z');
    const days = new Set<string>();
    let count = 0;
    for (; count < 365; count++) {
      at = tick(nextTick(schedule, at));
      days.add(new Intl.DateTimeFormat('sv', { timeZone: 'Europe/Berlin', dateStyle: 'short' }).format(at));
    }
    expect(days.size).toBe(365);
  });

  test('the next is after, the previous before', () => {
    const zones = fc.constantFrom('UTC', 'Europe/Berlin', 'America/New_York', 'Australia/Lord_Howe', 'Asia/Kolkata');
    fc.assert(
      fc.property(patterns, zones, times, (pattern, timeZone, at) => {
        const schedule = { pattern, timeZone };
        const next = tick(nextTick(schedule, at));
        const previous = tick(previousTick(schedule, at));
        expect(next.getTime()).toBeGreaterThan(at.getTime());
        expect(previous.getTime()).toBeLessThan(at.getTime());
      }),
      { numRuns: 1000 },
    );
  });

  test('the one before is found right after clocks went forward by half an hour', () => {
    const schedule = { pattern: '*/7 * * * *', timeZone: 'Australia/Lord_Howe' };
    expect(previousTick(schedule, new Date('2034-09-30T15:30:00Z'))?.toISOString()).toBe('2034-09-30T15:26:00.000Z');
  });

  test('nothing lies between one and the next where clocks do not change', () => {
    fc.assert(
      fc.property(
        patterns,
        fc.constantFrom('UTC', 'Asia/Kolkata'),
        times,
        fc.double({ min: 0, max: 1, noNaN: true }),
        (pattern, timeZone, at, share) => {
          const schedule = { pattern, timeZone };
          const next = tick(nextTick(schedule, at));
          const between = new Date(at.getTime() + Math.floor(share * (next.getTime() - at.getTime() - 1)));
          expect(nextTick(schedule, between)).toEqual(next);
          expect(nextTick(schedule, new Date(tick(previousTick(schedule, next)).getTime()))).toEqual(next);
        },
      ),
      { numRuns: 100 },
    );
  });

  test('a tick in the hour that clocks leave out comes when they have moved on', () => {
    const schedule = { pattern: '15 2 * * 0', timeZone: 'America/New_York' };
    expect(nextTick(schedule, new Date('2028-03-05T07:15:00Z'))?.toISOString()).toBe('2028-03-12T07:00:00.000Z');
  });
});
