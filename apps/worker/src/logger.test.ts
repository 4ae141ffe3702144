import { describe, expect, test } from 'vitest';
import { createLogger } from './logger.ts';

const lines: string[] = [];
const destination = { write: (line: string) => void lines.push(line) };

describe('the logger', () => {
  test.each([false, true])('shows no secret (for people: %s)', (logPretty) => {
    const logger = createLogger({ logLevel: 'info', logPretty }, { app: 'worker' }, destination);
    logger.info({ password: 'hush', config: { masterKey: 'hush', deep: { sealedPassword: 'hush' } }, redisUrl: 'hush' }, 'hello');
    expect(lines.join('')).toContain('hello');
    expect(lines.join('')).not.toContain('hush');
  });

  test('writes lines for people with what went wrong', () => {
    lines.length = 0;
    createLogger({ logLevel: 'info', logPretty: true }, {}, destination).error({ err: new Error('broken'), kind: 'backup' }, 'run failed');
    expect(lines.join('')).toMatch(/^\d\d:\d\d:\d\d\.\d{3} ERROR run failed kind=backup\nError: broken\n/u);
  });
});
