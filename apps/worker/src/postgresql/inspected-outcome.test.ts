import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { expect, test } from 'vitest';
import { damageOutcome, readingDamage, recoveryDamage } from './inspected-outcome.ts';

const damage = { status: 'failed', error: { code: 'verification_found_damage' } };

test.each(['repository_damaged', 'storage_object_missing'] as const)('%s is damage of any backup', (code) => {
  const error = new HoldfastError(code, 'a pack is gone');
  expect(damageOutcome(error, readingDamage)).toMatchObject(damage);
  expect(damageOutcome(error, recoveryDamage)).toMatchObject(damage);
});

test('a server that does not start is damage of a data folder, and not of a logical backup', () => {
  const error = new HoldfastError('postgresql_recovery_failed', 'it ended');
  expect(damageOutcome(error, recoveryDamage)).toMatchObject(damage);
  expect(() => damageOutcome(error, readingDamage)).toThrow(error);
});

test.each(['disk_full', 'postgresql_failed', 'postgresql_tool_missing'] as const)('%s says nothing of a backup', (code) => {
  const error = new HoldfastError(code, 'no room');
  expect(() => damageOutcome(error, readingDamage)).toThrow(error);
  expect(() => damageOutcome(error, recoveryDamage)).toThrow(error);
});
