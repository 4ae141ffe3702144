import { once } from 'node:events';
import { pino } from 'pino';
import { expect, test } from 'vitest';
import { startPeriodicDuty } from './periodic-duty.ts';

function recordingLogger(): { lines: string[]; logger: pino.Logger } {
  const lines: string[] = [];
  return { lines, logger: pino({ level: 'debug' }, { write: (line: string) => void lines.push(line) }) };
}

test('a round under way is told that the worker stops, and has not failed by that', async () => {
  const { lines, logger } = recordingLogger();
  const run = async (stopping: AbortSignal): Promise<void> => {
    await once(stopping, 'abort');
    throw stopping.reason;
  };
  const duty = startPeriodicDuty({ name: 'waits', intervalMs: 1, logger, run });
  await duty.stop();
  expect(lines).toEqual([]);
});

test('rounds that fail are told once, and that it goes again', async () => {
  const { lines, logger } = recordingLogger();
  const { promise, resolve } = Promise.withResolvers<void>();
  let count = 0;
  const run = async (): Promise<void> => {
    await Promise.resolve();
    if (++count < 4) throw new Error('not yet');
    if (count > 5) resolve();
  };
  const duty = startPeriodicDuty({ name: 'fails', intervalMs: 1, logger, run });
  await promise;
  await duty.stop();
  const levels = lines
    .map((line): unknown => JSON.parse(line))
    .map((line) => pino.levels.labels[Number(Reflect.get(Object(line), 'level'))]);
  expect(levels).toEqual(['warn', 'debug', 'debug', 'info']);
});
