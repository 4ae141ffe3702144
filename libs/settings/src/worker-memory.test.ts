import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { workerMemory } from './worker-memory.ts';

/** All that the heap may come to: old objects, and three times what a nursery may have. */
function heapLimitBytes(environment: object): number {
  const program = `console.log(require('node:v8').getHeapStatistics().heap_size_limit)`;
  return Number(execFileSync(process.execPath, ['--eval', program], { env: { ...process.env, NODE_OPTIONS: '', ...environment } }));
}

const report = process.report.getReport();
/** The others have no such settings. */
const isGlibc = 'header' in report && typeof report.header === 'object' && report.header !== null && 'glibcVersionRuntime' in report.header;

test('the nursery of a worker is smaller than that of other processes', () => {
  const mebibyte = 1024 * 1024;
  const [oldMiB, nurseryMiB] = [512, 2];
  const old = `--max-old-space-size=${oldMiB}`;
  const worker = heapLimitBytes({ NODE_OPTIONS: `${workerMemory.NODE_OPTIONS} ${old}` });
  expect(worker).toBe((oldMiB + 3 * nurseryMiB) * mebibyte);
  expect(heapLimitBytes({ NODE_OPTIONS: old })).toBeGreaterThan(worker);
});

test.skipIf(!isGlibc)('large memory of a worker goes when it is given back', () => {
  // A piece is let go that is larger than what follows: from then on glibc by itself lays such pieces into its heap, between others.
  const program = `
    const { readFileSync } = require('node:fs');
    const release = (buffers) => buffers.forEach((buffer) => buffer.transfer(0));
    const filled = (sizeBytes) => { const bytes = new Uint8Array(sizeBytes).fill(1); return bytes.buffer; };
    release([filled(30 * 2 ** 20)]);
    const all = [];
    for (let nth = 0; nth < 100; nth++) all.push(filled(2 ** 20), filled(2 ** 14));
    release(all.filter((buffer) => buffer.byteLength === 2 ** 20));
    console.log(/VmRSS:\\s+(\\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))[1]);
    globalThis.kept = all;`;
  const residentKiB = (environment: object): number => {
    const said = execFileSync(process.execPath, ['--eval', program], { env: { ...process.env, NODE_OPTIONS: '', ...environment } });
    return Number.parseInt(String(said), 10);
  };
  expect(residentKiB(workerMemory)).toBeLessThan(residentKiB({}) - 50 * 1024);
});

test('workers in containers have the same', () => {
  const compose = readFileSync(new URL('../../../docker-compose.yml', import.meta.url), 'utf8');
  for (const [name, value] of Object.entries(workerMemory)) {
    const written = /^\d+$/u.test(value) ? `'${value}'` : value;
    expect(compose).toContain(`\n      ${name}: ${written}\n`);
  }
});
