import { describe, expect, test } from 'vitest';
import { assertAllowedHost, isAllowedHost, parseAllowedHosts } from './allowed-hosts.ts';

const allowed = parseAllowedHosts('db.example.org, 10.0.0.7:5433,*.db.internal:5432 ,[::1]');

describe('a server is allowed', () => {
  test.each([
    ['db.example.org', 5432],
    ['DB.Example.Org.', 1],
    ['10.0.0.7', 5433],
    ['a.db.internal', 5432],
    ['b.a.db.internal', 5432],
    ['::1', 5432],
  ])('%s:%i', (host, port) => expect(isAllowedHost({ host, port }, allowed)).toBe(true));
});

describe('a server is refused', () => {
  test.each([
    ['example.org', 5432],
    ['db.example.org.evil.com', 5432],
    ['10.0.0.7', 5432],
    ['10.0.0.70', 5433],
    ['db.internal', 5432],
    ['evildb.internal', 5432],
    ['.db.internal', 5432],
    ['a.db.internal', 5433],
    ['127.0.0.1', 5432],
    ['', 5432],
  ])('%s:%i', (host, port) => expect(isAllowedHost({ host, port }, allowed)).toBe(false));

  test('every one, by an empty setting', () => {
    expect(parseAllowedHosts(' , ')).toEqual([]);
    expect(() => assertAllowedHost({ host: 'db', port: 5432 }, [], 'postgresql_host_not_allowed')).toThrow(
      expect.objectContaining({ code: 'postgresql_host_not_allowed' }),
    );
  });
});

test.each(['http://db', 'db:0', 'db:65536', 'db:x', '*', 'a.*.b', '*.', 'a b', '[::1', 'user@db'])('%j is no pattern', (text) => {
  expect(() => parseAllowedHosts(text)).toThrow(expect.objectContaining({ code: 'configuration_invalid' }));
});
