import { describe, expect, test } from 'vitest';
import { startTestApi } from '../testing/test-api.ts';

const forwarded = { 'x-forwarded-proto': 'https' };

// Requests of these tests come from 127.0.0.1.
describe('a request through a proxy', () => {
  test.each([
    { trustedProxies: '127.0.0.0/8', isSecure: true },
    { trustedProxies: '10.0.0.0/8', isSecure: false },
    { trustedProxies: '', isSecure: false },
  ])('is told from a made-up one: proxies "$trustedProxies"', async ({ trustedProxies, isSecure }) => {
    await using api = await startTestApi({ trustedProxies });
    const answer = await api.send('GET', '/health', undefined, { token: null, headers: forwarded });
    expect(answer.statusCode).toBe(200);
    expect(answer.headers['strict-transport-security'] !== undefined).toBe(isSecure);
  });
});
