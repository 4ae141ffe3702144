import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseEnv } from 'node:util';
import { expect, test } from 'vitest';
import { apiSettingsSchema } from '../apps/api/src/config.ts';
import { cliSettingsSchema } from '../apps/cli/src/config.ts';
import { workerEnvironmentSchema } from '../apps/worker/src/config.ts';

const text = readFileSync(join(import.meta.dirname, '..', '.env.example'), 'utf8');
const settings = parseEnv(text.replaceAll(/^#(?=[A-Z_]+=)/gm, ''));
const schemas = { api: apiSettingsSchema, worker: workerEnvironmentSchema, cli: cliSettingsSchema };
const names = new Set(Object.values(schemas).flatMap((schema) => Object.keys(schema.shape)));

test('.env.example names every setting that a program reads, and no other', () => {
  expect(Object.keys(settings).toSorted()).toEqual([...names].toSorted());
});

test('each setting has its own comment in front of it, and is commented out itself', () => {
  const blocks = text.split(/\n\n+/).slice(1);
  expect(blocks).toHaveLength(names.size);
  for (const block of blocks) expect(block).toMatch(/^# .+\n#[A-Z_]+=.*\n?$/);
});

test.each(Object.entries(schemas))('the values of .env.example are ones that the %s takes', (_name, schema) => {
  // The examples of secrets are empty, so that nobody runs with one from a file that everybody can read.
  const secrets = { HOLDFAST_MASTER_KEY: Buffer.alloc(32).toString('base64'), HOLDFAST_JWT_SECRET: 'x'.repeat(32) };
  expect(schema.safeParse({ ...settings, ...secrets }).error?.issues).toBeUndefined();
});

const required = {
  DATABASE_URL: 'postgresql://a@b/c',
  HOLDFAST_MASTER_KEY: Buffer.alloc(32).toString('base64'),
  HOLDFAST_JWT_SECRET: 'x'.repeat(32),
};
const defaults = Object.entries({ ...workerEnvironmentSchema.parse(required), ...apiSettingsSchema.parse(required) })
  .filter(([name]) => !(name in required))
  // Folders are examples; numbers, times and levels are what is taken when nothing is set.
  .flatMap(([name, value]): [string, string][] => (value === undefined || typeof value === 'object' ? [] : [[name, String(value)]]));

test.each(defaults)('%s stands there with its default', (name, value) => {
  expect(settings[name]).toBe(value);
});
