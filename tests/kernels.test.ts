import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { compileKernel, kernels, outputOf } from '../scripts/build-kernels.ts';

const libs = join(import.meta.dirname, '../libs');

test.each(kernels)('what is committed is what $source compiles to', async (kernel) => {
  expect(Buffer.from(await compileKernel(kernel)).equals(readFileSync(outputOf(kernel)))).toBe(true);
});

test('no kernel is left out', () => {
  const committed = readdirSync(libs, { recursive: true, encoding: 'utf8' }).filter(
    (path) => path.endsWith('.wasm') && !path.includes('node_modules'),
  );
  expect(committed.map((path) => join(libs, path)).toSorted()).toEqual(kernels.map(outputOf).toSorted());
});
