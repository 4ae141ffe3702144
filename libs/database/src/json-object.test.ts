import { expect, it } from 'vitest';
import { jsonInput } from './json-object.ts';

it('makes text that PostgreSQL takes of what it would refuse', () => {
  const skipped = [{ path: '/srv/caf\udce9', reason: 'a\0b' }, { path: '/srv/ä😀' }];
  expect(jsonInput({ skipped, left: undefined })).toEqual({
    skipped: [{ path: String.raw`/srv/caf\xe9`, reason: String.raw`a\x00b` }, { path: '/srv/ä😀' }],
  });
});
