import { expect, test } from 'vitest';
import { createLogger } from './logger.ts';
import { createErrorLog } from './queue-error-log.ts';

test('the same error of the same queue is told once in half a minute', () => {
  const lines: string[] = [];
  let nowMs = 0;
  const logger = createLogger({ logLevel: 'info', logPretty: false }, {}, { write: (line) => void lines.push(line) });
  const onError = createErrorLog(logger, () => nowMs);
  for (nowMs = 0; nowMs < 60_000; nowMs += 1_000) {
    onError(new Error('connect ECONNREFUSED'), 'backup');
    onError(new Error('connect ECONNREFUSED'), 'verify');
  }
  expect(lines).toHaveLength(4);
});
