import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { workerMemory } from './worker-memory.ts';

/** All that the heap may come to: old objects, and three times what a nursery may have. */
function heapLimitBytes(environment: object): number {
  const program = `console.log(require('node:v8').getHeapStatistics().heap_size_limit)`;
  return Number(execFileSync(process.execPath, ['--eval', program], { env: { ...process.env, NODE_OPTIONS: '', ...environment } }));
}

test('the nursery of a worker is smaller than that of other processes', () => {
  const mebibyte = 1024 * 1024;
  const [oldMiB, nurseryMiB] = [512, 2];
  const old = `--max-old-space-size=${oldMiB}`;
  const worker = heapLimitBytes({ NODE_OPTIONS: `${workerMemory.NODE_OPTIONS} ${old}` });
  expect(worker).toBe((oldMiB + 3 * nurseryMiB) * mebibyte);
  expect(heapLimitBytes({ NODE_OPTIONS: old })).toBeGreaterThan(worker);
});

test('workers in containers have the same', () => {
  const compose = readFileSync(new URL('../../../docker-compose.yml', import.meta.url), 'utf8');
  for (const [name, value] of Object.entries(workerMemory)) expect(compose).toContain(`\n      ${name}: ${value}\n`);
});
