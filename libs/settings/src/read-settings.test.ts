import { expect, test } from 'vitest';
import { z } from 'zod';
import { readSettings, readWith } from './read-settings.ts';
import { databaseUrlSetting, graceSecondsSetting, portSetting, redisUrlSetting } from './settings-schemas.ts';

const schema = z.object({
  DATABASE_URL: databaseUrlSetting,
  REDIS_URL: redisUrlSetting,
  PORT: portSetting.default(80),
  GRACE: graceSecondsSetting,
  LETTER: z
    .string()
    .default('a')
    .transform(
      readWith((text) => {
        if (text.length > 1) throw new Error(`${text} is long`);
        return text.toUpperCase();
      }, 'must be one letter'),
    ),
});
const minimal = { DATABASE_URL: 'postgresql://u:secret@h/d' };

test('an empty variable counts as not given', () => {
  expect(readSettings(schema, { ...minimal, REDIS_URL: '', PORT: '', OTHER: 'x' })).toEqual({
    ...minimal,
    PORT: 80,
    GRACE: 30,
    LETTER: 'A',
  });
});

test('every variable that does not fit is named, and no value is repeated', () => {
  const wrong = { DATABASE_URL: 'mysql://u:secret@h/d', REDIS_URL: 'secret', PORT: '65536', GRACE: '-1', LETTER: 'secret' };
  expect(() => readSettings(schema, wrong)).toThrow(/DATABASE_URL: .*REDIS_URL: .*PORT: .*GRACE: .*LETTER: must be one letter/u);
  expect(() => readSettings(schema, wrong)).not.toThrow(/secret/u);
});

test('what is missing is named', () => {
  expect(() => readSettings(schema, {})).toThrow('DATABASE_URL: is missing; give the PostgreSQL URL');
});
