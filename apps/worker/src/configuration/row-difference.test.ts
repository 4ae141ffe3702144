import { expect, test } from 'vitest';
import { differingFields } from './row-difference.ts';

test('names the fields that differ, inner ones with dots, and never a value', () => {
  const before = { id: 'a', name: 'x', source: { type: 'file_system', paths: ['/a'] }, schedule: null, gone: 1 };
  const after = { id: 'a', name: 'y', source: { type: 'file_system', paths: ['/a', '/b'] }, schedule: '0 3 * * *', come: 2 };
  expect(differingFields(before, after)).toEqual(['come', 'gone', 'name', 'schedule', 'source.paths']);
  expect(differingFields(before, structuredClone(before))).toEqual([]);
  expect(differingFields({ source: {} }, { source: null })).toEqual(['source']);
});
