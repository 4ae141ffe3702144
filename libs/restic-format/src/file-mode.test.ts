import { expect, test } from 'vitest';

import { encodeFileMode, permissionBitsOf } from './file-mode.ts';
import { nodeTypes } from './node.ts';

test('modes are those that restic writes', () => {
  expect(encodeFileMode('file', 0o644)).toBe(420);
  expect(encodeFileMode('dir', 0o755)).toBe(2_147_484_141);
  expect(encodeFileMode('symlink', 0o777)).toBe(134_218_239);
  expect(encodeFileMode('chardev', 0o666)).toBe(69_206_454);
  expect(encodeFileMode('dir', 0o1777)).toBe(2_148_532_735);
});

test('permission bits come back, of every type', () => {
  for (const type of nodeTypes) {
    for (const bits of [0, 0o644, 0o7777, 0o4000, 0o2000, 0o1000]) expect(permissionBitsOf(encodeFileMode(type, bits))).toBe(bits);
  }
});
