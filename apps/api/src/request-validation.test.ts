import { describe, expect, test } from 'vitest';
import { z } from 'zod';
import { invalidRequest } from './request-validation.ts';
import { toHoldfastError, toProblem } from './problem.ts';

function errorsOf(schema: z.ZodType, value: unknown) {
  const parsed = schema.safeParse(value);
  if (parsed.success) throw new Error('the value fits');
  return toProblem(toHoldfastError(invalidRequest(parsed.error.issues)), 'r').errors;
}

const schema = z.strictObject({
  name: z.string().min(1).max(5).optional(),
  days: z.number().int().min(1).max(10).optional(),
  flag: z.boolean().optional(),
  kind: z.enum(['a', 'b']).optional(),
  key: z.string().min(8).optional(),
  source: z.discriminatedUnion('type', [z.strictObject({ type: z.literal('x'), paths: z.array(z.string()).min(1) })]).optional(),
});

describe('a refusal names the field and what to do', () => {
  test.each([
    [{ nonsense: 1 }, 'nonsense', 'is not a known field; leave it out'],
    [{ source: { type: 'x', paths: ['/a'], more: 1 } }, 'source.more', 'is not a known field; leave it out'],
    [{ source: { type: 'x' } }, 'source.paths', 'is missing; send an array'],
    [{ source: { type: 'y' } }, 'source.type', 'is not a kind that is known here; see /docs for those that are'],
    [{ source: { type: 'x', paths: [] } }, 'source.paths', 'must be at least 1 items long'],
    [{ days: '3' }, 'days', 'has the wrong type; send a number'],
    [{ days: 1.5 }, 'days', 'has the wrong type; send a whole number'],
    [{ days: 0 }, 'days', 'must be at least 1'],
    [{ days: 11 }, 'days', 'must be at most 10'],
    [{ name: 'toolong' }, 'name', 'must be at most 5 characters long'],
    [{ kind: 'c' }, 'kind', 'must be one of a, b'],
    [[], '', 'has the wrong type; send an object'],
    ['text', '', 'has the wrong type; send an object'],
  ])('%j', (value, field, message) => {
    expect(errorsOf(schema, value)).toEqual([{ field, message }]);
  });

  test('without ever repeating a value', () => {
    expect(JSON.stringify(errorsOf(schema, { key: 'hush', kind: 'hush', days: 'hush', flag: 'hush', source: 'hush' }))).not.toContain(
      'hush',
    );
  });

  test('for at most fifty fields', () => {
    const many = Object.fromEntries(Array.from({ length: 200 }, (_, index) => [`field${index}`, 1]));
    expect(errorsOf(schema, many)).toHaveLength(50);
  });
});
