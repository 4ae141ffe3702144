import { isHoldfastError } from '@holdfast/errors/holdfast-error';
import { describe, expect, test } from 'vitest';

import { generateMasterKeys } from './cipher.ts';
import { makeKeyFile, openKeyFile, type NewKeyFile } from './key-file.ts';
import { repeatableBytes } from './testing/repeatable-bytes.ts';

const masterKeys = generateMasterKeys(repeatableBytes(1));

const input = (password: string): NewKeyFile => ({
  password,
  masterKeys,
  created: new Date('2026-01-02T03:04:05.678Z'),
  username: 'user',
  hostname: 'host',
  // Far below the default: tests open many.
  kdf: { N: 16, r: 1, p: 1 },
  random: repeatableBytes(2),
});

const file = await makeKeyFile(input('secret'));
const fields: Record<string, unknown> = JSON.parse(Buffer.from(file).toString());
const withFields = (change: Record<string, unknown>): Uint8Array => Buffer.from(JSON.stringify({ ...fields, ...change }));
const bytesOf = (keys: Awaited<ReturnType<typeof openKeyFile>>): unknown =>
  keys && [keys.encrypt, keys.macK, keys.macR].map((key) => [...key]);

describe('key file', () => {
  test.each(['secret', '', 'pässwörd 😀'])('gives the master keys for the password "%s"', async (password) => {
    const opened = await openKeyFile(await makeKeyFile(input(password)), password);
    expect(bytesOf(opened)).toEqual(bytesOf(masterKeys));
  });

  test('gives null for another password', async () => {
    for (const password of ['', 'Secret', 'secret ', 'other']) expect(await openKeyFile(file, password)).toBeNull();
  });

  test('several files open the same keys', async () => {
    const second = await makeKeyFile(input('another'));
    expect(bytesOf(await openKeyFile(second, 'another'))).toEqual(bytesOf(await openKeyFile(file, 'secret')));
  });

  test('has the fields of the format and no key in the clear', () => {
    expect(fields).toMatchObject({
      created: '2026-01-02T03:04:05.678Z',
      username: 'user',
      hostname: 'host',
      kdf: 'scrypt',
      N: 16,
      r: 1,
      p: 1,
    });
    expect(Object.keys(fields)).toEqual(['created', 'username', 'hostname', 'kdf', 'N', 'r', 'p', 'salt', 'data']);
    for (const key of [masterKeys.encrypt, masterKeys.macK, masterKeys.macR]) {
      expect(Buffer.from(file).toString()).not.toContain(Buffer.from(key).toString('base64').slice(0, 16));
    }
  });

  test('a changed bit in what is sealed looks like another password', async () => {
    const data = Buffer.from(String(fields['data']), 'base64');
    data[20] = (data[20] ?? 0) ^ 1;
    expect(await openKeyFile(withFields({ data: data.toString('base64') }), 'secret')).toBeNull();
  });

  test.each([
    [{ kdf: 'argon2' }, 'not scrypt'],
    [{ N: 2 ** 30 }, 'memory'],
    [{ N: 2 ** 20, r: 8 }, 'memory'],
    [{ p: 2 ** 30 }, 'rounds'],
    [{ r: 2 ** 30 }, 'memory'],
    [{ N: 1000 }, 'does not take'],
    [{ N: 0 }, 'does not take'],
    [{ r: 0 }, 'does not take'],
  ])('parameters %j are refused before anything is computed', async (change, message) => {
    const opening = openKeyFile(withFields(change), 'secret');
    await expect(opening).rejects.toThrow(message);
    await expect(opening).rejects.toSatisfy((error) => isHoldfastError(error, 'repository_unsupported'));
  });

  test.each([{ N: '16' }, { salt: 'AAAA' }, { salt: 5 }, { data: '' }, { data: 'AAAA' }, { kdf: 5 }])(
    'a file with %j is damaged',
    async (change) => {
      await expect(openKeyFile(withFields(change), 'secret')).rejects.toSatisfy((error) => isHoldfastError(error, 'repository_damaged'));
    },
  );

  test('bytes that are no key file are damaged', async () => {
    for (const bytes of [new Uint8Array(0), Buffer.from('{'), Buffer.from('[]'), Buffer.alloc(100_000, ' ')]) {
      await expect(openKeyFile(bytes, 'secret')).rejects.toSatisfy((error) => isHoldfastError(error, 'repository_damaged'));
    }
  });

  test('parameters that no program would open again are not written', async () => {
    await expect(makeKeyFile({ ...input('secret'), kdf: { N: 2 ** 30, r: 8, p: 1 } })).rejects.toThrow('limits');
  });
});
