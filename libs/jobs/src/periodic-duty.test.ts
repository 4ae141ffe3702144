import { once } from 'node:events';
import { expect, test } from 'vitest';
import { startPeriodicDuty, type DutyLogger } from './periodic-duty.ts';

function recordingLogger(): { levels: string[]; logger: DutyLogger } {
  const levels: string[] = [];
  const at = (level: string) => (): void => void levels.push(level);
  return { levels, logger: { info: at('info'), warn: at('warn'), debug: at('debug') } };
}

test('a round under way is told that its process stops, and has not failed by that', async () => {
  const { levels, logger } = recordingLogger();
  const run = async (stopping: AbortSignal): Promise<void> => {
    await once(stopping, 'abort');
    throw stopping.reason;
  };
  const duty = startPeriodicDuty({ name: 'waits', intervalMs: 1, logger, run });
  await duty.stop();
  expect(levels).toEqual([]);
});

test('rounds that fail are told once, and that it goes again', async () => {
  const { levels, logger } = recordingLogger();
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
  expect(levels).toEqual(['warn', 'debug', 'debug', 'info']);
});
