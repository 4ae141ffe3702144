import { mkdtemp, readdir, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { openLogFile } from './log-file.ts';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'holdfast-log-'));
});
afterEach(() => rm(folder, { recursive: true }));

const path = (): string => join(folder, 'logs', 'api.log');
const read = (name: string): Promise<string> => readFile(join(folder, 'logs', name), 'utf8');
const failed = (error: unknown): void => expect.unreachable(String(error));

test('each start and each overflow begins anew, and the oldest go', async () => {
  for (let start = 1; start <= 7; start += 1) {
    using log = openLogFile(path(), failed);
    log.write(`start ${start}\n`);
  }
  expect((await readdir(join(folder, 'logs'))).toSorted()).toEqual(['api.1.log', 'api.2.log', 'api.3.log', 'api.4.log', 'api.log']);
  expect([await read('api.log'), await read('api.4.log')]).toEqual(['start 7\n', 'start 3\n']);
  expect((await stat(path())).mode & 0o777).toBe(0o600);

  using log = openLogFile(path(), failed, 10);
  for (const text of ['12345', '67890', 'more']) log.write(text);
  expect([await read('api.1.log'), await read('api.log')]).toEqual(['1234567890', 'more']);
  log.close();
  log.write('after the end');
  expect(await read('api.log')).toBe('more');
});

test('a log that cannot be written is told once, costs its lines only, and goes on when it can be again', async () => {
  const errors: unknown[] = [];
  using log = openLogFile(path(), (error) => errors.push(error), 1);
  log.write('12');
  await rm(join(folder, 'logs'), { recursive: true });
  for (const text of ['lost', 'lost']) log.write(text);
  expect(errors).toHaveLength(1);
});
