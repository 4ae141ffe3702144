import { expect, test } from 'vitest';
import { orderByReference } from './own-rows-order.ts';

test('what others refer to comes first, otherwise by name', () => {
  const references = [
    { from: 'jobs', to: 'configs' },
    { from: 'configs', to: '"entities"' },
    { from: 'jobs', to: 'entities' },
    { from: 'jobs', to: 'jobs' },
    { from: 'configs', to: 'elsewhere' },
  ];
  expect(orderByReference(['jobs', 'configs', 'entities', 'alone'], references)).toEqual(['alone', 'entities', 'configs', 'jobs']);
});

test('a ring is refused by its names', () => {
  const ring = [
    { from: 'a', to: 'b' },
    { from: 'b', to: 'a' },
  ];
  expect(() => orderByReference(['a', 'b', 'c'], ring)).toThrow('tables refer to each other in a ring: a, b');
});
