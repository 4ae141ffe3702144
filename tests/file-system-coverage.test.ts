import { globSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { expect, test } from 'vitest';

const root = join(import.meta.dirname, '..');

test('docs/file-system-coverage.md names only tests that are there', () => {
  const tests = new Set(globSync('libs/{engine,sources}/src/*.test.ts', { cwd: root }).map((path) => basename(path)));
  const rows = readFileSync(join(root, 'docs/file-system-coverage.md'), 'utf8')
    .split('\n')
    .filter((line) => line.startsWith('| ') && !line.startsWith('|--') && !line.includes('tested in'));
  expect(rows.length).toBeGreaterThan(35);
  for (const row of rows) {
    const named = row.split('|').at(-2)?.trim() ?? '';
    for (const name of named.split(', ').filter((text) => text !== '')) {
      const file = name === 'restic interop' ? 'restic.interop.test.ts' : `${name.replace(' interop', '.interop')}.test.ts`;
      expect(tests.has(file) || tests.has(file.replace('.test.ts', '.interop.test.ts')), row).toBe(true);
    }
  }
});
