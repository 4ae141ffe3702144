import { expect, test } from 'vitest';
import { adaptScript, type ScriptChange } from './run-script.ts';

const dump = [
  '--',
  '-- PostgreSQL database dump',
  '--',
  '',
  String.raw`\restrict holdfast`,
  '',
  'SET statement_timeout = 0;',
  'SET transaction_timeout = 0;',
  "SELECT 'ünïcode';",
  '',
].join('\n');

async function adapt(text: string, change: ScriptChange): Promise<string> {
  const cut = async function* (): AsyncGenerator<Uint8Array> {
    const bytes = Buffer.from(text);
    for (let at = 0; at < bytes.length; at += 100) yield bytes.subarray(at, at + 100);
  };
  const parts: Uint8Array[] = [];
  for await (const part of adaptScript(cut(), change)) parts.push(part);
  return Buffer.concat(parts).toString();
}

test('a script that restricts psql itself stays as it is', async () => {
  expect(await adapt(dump, { isRestricted: true, serverMajor: 18 })).toBe(dump);
});

test('one that does not is restricted, also when something that looks like it comes later', async () => {
  const script = `SELECT 1;\n${dump}${'x'.repeat(5000)}`;
  expect(await adapt(script, { isRestricted: true, serverMajor: 18 })).toBe(`\\restrict holdfastrecovery\n${script}`);
  expect(await adapt(script, { isRestricted: false, serverMajor: 18 })).toBe(script);
  expect(await adapt('', { isRestricted: true, serverMajor: 18 })).toBe('\\restrict holdfastrecovery\n');
});

test('a setting that older servers do not know is left out for them', async () => {
  const expected = dump.replace('SET transaction_timeout = 0;\n', '');
  expect(await adapt(dump, { isRestricted: true, serverMajor: 16 })).toBe(expected);
  expect(await adapt(dump + 'y'.repeat(5000), { isRestricted: true, serverMajor: 14 })).toBe(expected + 'y'.repeat(5000));
});
