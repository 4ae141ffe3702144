import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { buildRowKernels } from './build-row-kernels.ts';

// What the kernels do is tested by copy-frames.test.ts.

test('row-kernels.wasm is what the source compiles to', async () => {
  expect(Buffer.from(await buildRowKernels()).equals(readFileSync(new URL('row-kernels.wasm', import.meta.url)))).toBe(true);
});
