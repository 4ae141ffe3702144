import { openSession } from '../session.ts';
import { mapLines } from './map-lines.ts';
import type { ScriptRun } from './run-script.ts';
import { runScript } from './run-script.ts';

/**
 * Makes the roles and tablespaces of globals.sql that the server lacks. A role that is there keeps its password and its rights: its lines
 * are left out. Returns what the server complained about, such as a tablespace whose folder is missing.
 */
export async function restoreGlobals(run: Omit<ScriptRun, 'onErrors'>): Promise<readonly string[]> {
  await using session = await openSession(run.connection, run.signal);
  const rows = await session.query('SELECT quote_ident(rolname) FROM pg_roles', [], 'listing the roles');
  const known = new Set(rows.map(([name]) => name ?? ''));
  const complaints: string[] = [];
  const onErrors = (complaint: string): void => void complaints.push(...complaint.split('\n').filter((line) => /\bERROR:/u.test(line)));
  await runScript({ ...run, script: withoutRoles(run.script, known), onErrors });
  return complaints;
}

/** `CREATE ROLE name;`, `ALTER ROLE name WITH …`, `ALTER ROLE name SET …`, each on a line of its own. */
export function withoutRoles(script: AsyncIterable<Uint8Array>, known: ReadonlySet<string>): AsyncGenerator<Uint8Array, void, undefined> {
  return mapLines(script, (line) => (known.has(roleOf(line)) ? null : line));
}

function roleOf(line: string): string {
  return /^(?:CREATE|ALTER) ROLE ("(?:[^"]|"")+"|[^\s;"]+)[\s;]/u.exec(line)?.[1] ?? '';
}
