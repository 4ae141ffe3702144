import { openSession } from '../session.ts';
import type { ScriptRun } from './run-script.ts';
import { runScript } from './run-script.ts';

/** Roles and tablespaces of a server are some lines each; more than this is none of ours. */
const maxLineLength = 1024 * 1024;

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
export async function* withoutRoles(
  script: AsyncIterable<Uint8Array>,
  known: ReadonlySet<string>,
): AsyncGenerator<Uint8Array, void, undefined> {
  let rest = '';
  const decoder = new TextDecoder();
  for await (const part of script) {
    const lines = (rest + decoder.decode(part, { stream: true })).split('\n');
    rest = (lines.pop() ?? '').slice(0, maxLineLength);
    const kept = lines.filter((line) => !known.has(roleOf(line)));
    if (kept.length > 0) yield Buffer.from(`${kept.join('\n')}\n`);
  }
  if (rest !== '' && !known.has(roleOf(rest))) yield Buffer.from(rest);
}

function roleOf(line: string): string {
  return /^(?:CREATE|ALTER) ROLE ("(?:[^"]|"")+"|[^\s;"]+)[\s;]/u.exec(line)?.[1] ?? '';
}
