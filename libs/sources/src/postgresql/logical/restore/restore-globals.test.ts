import { expect, test } from 'vitest';
import { withoutRoles } from './restore-globals.ts';

const script = [
  'CREATE ROLE app;',
  "ALTER ROLE app WITH LOGIN PASSWORD 'SCRAM';",
  'CREATE ROLE "App two";',
  'ALTER ROLE "App two" SET work_mem TO \'1MB\';',
  'CREATE ROLE postgres;',
  "ALTER ROLE postgres WITH SUPERUSER PASSWORD 'SCRAM';",
  'CREATE ROLE postgres2;',
  'GRANT app TO postgres;',
].join('\n');

test('roles that are there keep what they have; all others are made', async () => {
  const parts: string[] = [];
  const cut = async function* (): AsyncGenerator<Uint8Array> {
    for (const part of script.match(/.{1,7}/gsu) ?? []) yield Buffer.from(part);
  };
  for await (const part of withoutRoles(cut(), new Set(['postgres', '"App two"']))) parts.push(Buffer.from(part).toString());
  expect(parts.join('').split('\n')).toEqual([
    'CREATE ROLE app;',
    "ALTER ROLE app WITH LOGIN PASSWORD 'SCRAM';",
    'CREATE ROLE postgres2;',
    'GRANT app TO postgres;',
  ]);
});
