import type { ConnectionOptions } from '../../connection-options.ts';
import type { ClientTools } from '../client-tools.ts';
import { runTool } from '../tool-process.ts';

export interface ScriptRun {
  readonly tools: ClientTools;
  /** To the database in which it runs. */
  readonly connection: ConnectionOptions;
  readonly script: AsyncIterable<Uint8Array>;
  /** Goes on after errors; they are told at the end. Otherwise the first one ends it. */
  readonly onErrors?: (complaint: string) => void;
  readonly signal: AbortSignal;
}

/** A script is looked at this far for its own \restrict, which pg_dump writes right after its first comment. */
const headBytes = 1024;
/** Any word will do: what it keeps out cannot know that it has to say it. */
const restrictKey = 'holdfastrecovery';

/**
 * Runs SQL by psql. Scripts come out of a backup, and so out of a database that a tenant may own: psql's own commands, of which one
 * starts programs, are switched off by \restrict where psql knows it. Codes: postgresql_*.
 */
export async function runScript({ tools, connection, script, onErrors, signal }: ScriptRun): Promise<void> {
  const args = ['-X', '-q', '-o', '/dev/null', '--no-password', '-v', `ON_ERROR_STOP=${onErrors === undefined ? 1 : 0}`, '-f', '-'];
  const input = tools.takesRestrictKey ? restricted(script) : script;
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

async function* restricted(script: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array, void, undefined> {
  let head: Buffer | null = Buffer.alloc(0);
  for await (const part of script) {
    if (head === null) {
      yield part;
      continue;
    }
    head = Buffer.concat([head, part]);
    if (head.length < headBytes) continue;
    yield* begin(head);
    head = null;
  }
  if (head !== null) yield* begin(head);
}

function* begin(head: Buffer): Generator<Uint8Array, void, undefined> {
  // Only blank lines and comments come before one that counts.
  if (!/^(?:(?:--[^\n]*)?\n)*\\restrict /u.test(head.toString('latin1'))) yield Buffer.from(`\\restrict ${restrictKey}\n`);
  yield head;
}
