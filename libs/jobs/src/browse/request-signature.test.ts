import { expect, test } from 'vitest';
import { deriveBrowseKey, isSigned, signatureLifetimeMs, signRequest } from './request-signature.ts';

const key = deriveBrowseKey(new Uint8Array(32).fill(7));
const now = new Date('2026-01-01T00:00:00Z');
const later = (ms: number) => new Date(now.getTime() + ms);
const request = { method: 'GET', target: '/folder?repositoryId=r&path=%2Fa' };
const header = signRequest(key, request, now);

test('what was signed is known, until it is too old', () => {
  expect(isSigned(key, request, header, now)).toBe(true);
  expect(isSigned(key, request, header, later(signatureLifetimeMs))).toBe(true);
  expect(isSigned(key, request, header, later(signatureLifetimeMs + 31_000))).toBe(false);
  // A clock that is behind by hours would make it good for hours.
  expect(isSigned(key, request, header, later(-31_000))).toBe(false);
});

test.each([
  ['another method', { ...request, method: 'HEAD' }],
  ['another path', { ...request, target: '/content?repositoryId=r&path=%2Fa' }],
  ['another query', { ...request, target: '/folder?repositoryId=s&path=%2Fa' }],
  ['a query that means the same', { ...request, target: '/folder?path=%2Fa&repositoryId=r' }],
])('it is good for no other request: %s', (_name, other) => {
  expect(isSigned(key, other, header, now)).toBe(false);
});

test('another key, a later expiry and what is no signature are refused', () => {
  expect(isSigned(deriveBrowseKey(new Uint8Array(32).fill(8)), request, header, now)).toBe(false);
  const stretched = header.replace(/\d+\./u, (digits) => `${Number.parseInt(digits, 10) + 1}.`);
  expect(stretched).not.toBe(header);
  expect(isSigned(key, request, stretched, now)).toBe(false);
  for (const wrong of [undefined, '', 'Bearer x', `${header}A`, header.slice(0, -1), header.replace('.', '')]) {
    expect(isSigned(key, request, wrong, now), String(wrong)).toBe(false);
  }
});

test('the derived key is not the master key', () => {
  expect(Buffer.from(key.bytes).equals(Buffer.alloc(32, 7))).toBe(false);
});
