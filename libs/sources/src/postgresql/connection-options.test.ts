import { expect, test } from 'vitest';
import { serverPlace } from './connection-options.ts';

test('a server is the same however its name is written', () => {
  expect(serverPlace({ host: 'DB.example.org.', port: 5432 })).toBe('db.example.org:5432');
  expect(serverPlace({ host: 'FD00::1', port: 5433 })).toBe('[fd00::1]:5433');
});
