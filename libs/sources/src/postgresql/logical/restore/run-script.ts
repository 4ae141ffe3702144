import type { ConnectionOptions } from '../../connection-options.ts';
import type { ClientTools } from '../client-tools.ts';
import { runTool } from '../tool-process.ts';

export interface ScriptRun {
  readonly tools: ClientTools;
  readonly serverMajor: number;
  /** To the database in which it runs. */
  readonly connection: ConnectionOptions;
  readonly script: AsyncIterable<Uint8Array>;
  /** Goes on after errors; they are told at the end. Otherwise the first one ends it. */
  readonly onErrors?: (complaint: string) => void;
  readonly signal: AbortSignal;
}

/** What pg_dump writes before the first object: a comment, \restrict, and the settings of the session. */
const headBytes = 2048;
/** Any word will do: what it keeps out cannot know that it has to say it. */
const restrictKey = 'holdfastrecovery';

/**
 * Runs SQL by psql. Scripts come out of a backup, and so out of a database that a tenant may own: psql's own commands, of which one
 * starts programs, are switched off by \restrict where psql knows it. Codes: postgresql_*.
 */
export async function runScript({ tools, serverMajor, connection, script, onErrors, signal }: ScriptRun): Promise<void> {
  const args = ['-X', '-q', '-o', '/dev/null', '--no-password', '-v', `ON_ERROR_STOP=${onErrors === undefined ? 1 : 0}`, '-f', '-'];
  const input = adaptScript(script, { isRestricted: tools.takesRestrictKey, serverMajor });
  const run = runTool({
    tools,
    program: 'psql',
    args,
    connection,
    signal,
    input,
    ...(onErrors === undefined ? {} : { onComplaint: onErrors }),
  });
  // What it writes is thrown away, but has to be taken.
  for (let next = await run.next(); next.done !== true; next = await run.next());
}

export interface ScriptChange {
  readonly isRestricted: boolean;
  readonly serverMajor: number;
}

/** The script as this psql and this server take it; only its beginning is looked at. */
export async function* adaptScript(script: AsyncIterable<Uint8Array>, change: ScriptChange): AsyncGenerator<Uint8Array, void, undefined> {
  let head: Buffer | null = Buffer.alloc(0);
  for await (const part of script) {
    if (head === null) {
      yield part;
      continue;
    }
    head = Buffer.concat([head, part]);
    if (head.length < headBytes) continue;
    yield adaptHead(head, change);
    head = null;
  }
  if (head !== null) yield adaptHead(head, change);
}

/** Only blank lines and comments come before a \restrict that counts. */
const ownRestrict = /^(?:(?:--[^\n]*)?\n)*\\restrict /u;
/** Written by every pg_dump from 17 on, whatever the server, and not known to servers before. */
const timeoutSetting = /^SET transaction_timeout = 0;\n/mu;
const timeoutSince = 17;

function adaptHead(head: Buffer, { isRestricted, serverMajor }: ScriptChange): Buffer {
  // Byte for byte: a character may be cut at the end.
  const text = head.toString('latin1');
  const restrict = isRestricted && !ownRestrict.test(text) ? `\\restrict ${restrictKey}\n` : '';
  return Buffer.from(restrict + (serverMajor < timeoutSince ? text.replace(timeoutSetting, '') : text), 'latin1');
}
