import { inspect } from 'node:util';
import { HoldfastError } from '@holdfast/errors/holdfast-error';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parseMasterKey, seal, unseal } from './sealed-secret.ts';

const key = parseMasterKey(Buffer.alloc(32, 7).toString('base64'));
const otherKey = parseMasterKey(Buffer.alloc(32, 8).toString('base64'));
const place = 'repositories.sealedPassword:entity:encrypted:local:/backups';

const thrownBy = (action: () => unknown): HoldfastError => {
  try {
    action();
  } catch (error) {
    if (error instanceof HoldfastError) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
};

describe('a sealed secret', () => {
  test('opens to what was sealed, whatever it was', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme', maxLength: 200 }), fc.string({ maxLength: 50 }), (secret, context) => {
        expect(unseal(key, context, seal(key, context, secret))).toBe(secret);
      }),
    );
  });

  test('does not open with a flipped bit anywhere', () => {
    const sealed = seal(key, place, 'correct horse');
    const body = Buffer.from(sealed.slice(3), 'base64url');
    fc.assert(
      fc.property(fc.nat(body.length * 8 - 1), (bit) => {
        const flipped = Buffer.from(body);
        flipped[bit >> 3] = (flipped[bit >> 3] ?? 0) ^ (1 << (bit & 7));
        expect(thrownBy(() => unseal(key, place, `v1.${flipped.toString('base64url')}`)).code).toBe('secret_unreadable');
      }),
    );
  });

  test('does not open under another key, in another place, or cut short', () => {
    const sealed = seal(key, place, 'correct horse');
    expect(thrownBy(() => unseal(otherKey, place, sealed)).code).toBe('secret_unreadable');
    expect(thrownBy(() => unseal(key, `${place}2`, sealed)).code).toBe('secret_unreadable');
    for (const cut of ['', 'v1.', sealed.slice(0, 20), `v2${sealed.slice(2)}`, `${sealed}.more`]) {
      expect(thrownBy(() => unseal(key, place, cut)).code).toBe('secret_unreadable');
    }
  });

  test('is another text each time', () => {
    expect(seal(key, place, 'same')).not.toBe(seal(key, place, 'same'));
  });

  test('shows neither secret nor key in the error', () => {
    const error = thrownBy(() => unseal(otherKey, place, seal(key, place, 'correct horse')));
    expect(inspect(error, { depth: 10 })).not.toMatch(/correct horse/u);
    expect(inspect(error, { depth: 10 })).not.toContain(Buffer.from(otherKey.bytes).toString('base64'));
  });
});

test.each(['', 'short', Buffer.alloc(31).toString('base64'), Buffer.alloc(33).toString('base64'), `${'*'.repeat(43)}=`])(
  'the master key %j is refused',
  (text) => {
    const error = thrownBy(() => parseMasterKey(text));
    expect(error.code).toBe('configuration_invalid');
    if (text !== '') expect(error.message).not.toContain(text);
  },
);
