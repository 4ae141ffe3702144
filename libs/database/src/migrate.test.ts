import { expect, test } from 'vitest';
import { pendingMigrations } from './migrate.ts';

const ours = ['1_a', '2_b', '3_c'].map((name) => ({ name, sql: '', checksum: `sum of ${name}` }));
const applied = (name: string, checksum = `sum of ${name}`, isFinished = true) => ({ name, checksum, isFinished });

test('what is not applied is pending, in order', () => {
  expect(pendingMigrations(ours, []).map(({ name }) => name)).toEqual(['1_a', '2_b', '3_c']);
  expect(pendingMigrations(ours, [applied('1_a')]).map(({ name }) => name)).toEqual(['2_b', '3_c']);
  expect(
    pendingMigrations(
      ours,
      ours.map(({ name }) => applied(name)),
    ),
  ).toEqual([]);
});

test.each([
  ['edited', applied('1_a', 'another sum'), /edited/u],
  ['half-done', applied('1_a', 'sum of 1_a', false), /not finished/u],
  ['of a newer version', applied('4_d'), /does not know/u],
])('one that is %s is refused', (_, row, message) => {
  expect(() => pendingMigrations(ours, [row])).toThrow(message);
  expect(() => pendingMigrations(ours, [row])).toThrow(expect.objectContaining({ code: 'database_schema_mismatch' }));
});
