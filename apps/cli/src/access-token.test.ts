import { createHmac } from 'node:crypto';
import { expect, test } from 'vitest';
import { signAccessToken } from './access-token.ts';
import { parseDurationSeconds } from './parse-duration.ts';

test('a token is an HS256 JWT with the claims that the API reads', () => {
  const secret = 's'.repeat(32);
  const token = signAccessToken(
    { subject: 'ann', role: 'viewer', entities: ['a', 'b'] },
    { secret, now: new Date(1_000_999), lifetimeSeconds: 60 },
  );
  const [header = '', payload = '', signature] = token.split('.');
  const decode = (part: string): unknown => JSON.parse(Buffer.from(part, 'base64url').toString());
  expect(decode(header)).toEqual({ alg: 'HS256', typ: 'JWT' });
  expect(decode(payload)).toEqual({ sub: 'ann', role: 'viewer', entities: ['a', 'b'], iat: 1000, exp: 1060 });
  expect(signature).toBe(createHmac('sha256', secret).update(`${header}.${payload}`).digest('base64url'));
});

test('lengths of time are read in s, m, h and d, and nothing else is', () => {
  expect(['90s', '15m', '12h', '30d'].map(parseDurationSeconds)).toEqual([90, 900, 43_200, 2_592_000]);
});

test.each(['', '12', 'h', '0h', '-1h', '1.5h', '12 h', '1w', '3651d', '1h1m'])('%j is no length of time', (text) => {
  expect(() => parseDurationSeconds(text)).toThrow(expect.objectContaining({ code: 'request_invalid' }));
});
