import { lookup } from 'node:dns/promises';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { isIP } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { getCACertificates } from 'node:tls';
import type { ErrorCode } from '@holdfast/errors/error-codes';
import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { programOutput } from '../../program-output.ts';
import { connectionPlace, type ConnectionOptions } from '../connection-options.ts';
import type { ClientTools } from './client-tools.ts';

export interface ToolRun {
  readonly tools: ClientTools;
  readonly program: 'pg_dump' | 'pg_dumpall' | 'psql';
  /** Nothing secret: everybody on the machine sees them. */
  readonly args: readonly string[];
  readonly connection: ConnectionOptions;
  readonly signal: AbortSignal;
  /** Hears, at the end, of what a program complained about that succeeded all the same. */
  readonly onComplaint?: (complaint: string) => void;
  /** What it reads. */
  readonly input?: AsyncIterable<Uint8Array>;
}

const connectTimeoutSeconds = 15;

/**
 * What a client tool of PostgreSQL writes to its standard output. The connection goes by its environment, which only its own user may
 * read, and nothing of ours is in there. Ends the program when the reader stops. Codes: postgresql_*; its own words are in the message.
 */
export async function* runTool(run: ToolRun): AsyncGenerator<Buffer, void, undefined> {
  await using certificates = await certificateFile(run.connection);
  const { tools, program, args, connection, signal, input } = run;
  const env = { ...(await connectionEnvironment(connection)), ...certificates.environment };
  const command = join(tools.folder, program);
  const { code, complaint } = yield* programOutput({ command, args, env, input, signal });
  if (code !== 0) throw toolError(run, code, complaint);
  if (complaint.trim() !== '') run.onComplaint?.(complaint.trim());
}

async function connectionEnvironment(connection: ConnectionOptions): Promise<Record<string, string>> {
  const { host, port, user, password, database, tls, applicationName = 'holdfast' } = connection;
  const named = tls.mode === 'verify-full' && tls.serverName !== undefined && tls.serverName !== host ? tls.serverName : undefined;
  return {
    PATH: '/usr/bin:/bin',
    LC_ALL: 'C',
    PGHOST: named ?? host,
    // The name is what the certificate must have, the address where to connect.
    ...(named === undefined ? {} : { PGHOSTADDR: isIP(host) === 0 ? (await lookup(host)).address : host }),
    PGPORT: String(port),
    PGUSER: user,
    PGDATABASE: database,
    ...(password === undefined ? {} : { PGPASSWORD: password }),
    PGPASSFILE: '/dev/null',
    PGSERVICEFILE: '/dev/null',
    PGSSLMODE: tls.mode,
    PGAPPNAME: applicationName,
    PGCONNECT_TIMEOUT: String(connectTimeoutSeconds),
  };
}

/** libpq reads certificates from a file only, and does not know those of Node. */
async function certificateFile({ tls }: ConnectionOptions): Promise<AsyncDisposable & { readonly environment: Record<string, string> }> {
  if (tls.mode !== 'verify-full') return { environment: {}, [Symbol.asyncDispose]: async () => {} };
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-certificates-'));
  const path = join(folder, 'root.crt');
  const dispose = (): Promise<void> => rm(folder, { recursive: true, force: true });
  try {
    await writeFile(path, tls.ca ?? getCACertificates('default').join('\n'));
  } catch (error) {
    await dispose();
    throw error;
  }
  return { environment: { PGSSLROOTCERT: path }, [Symbol.asyncDispose]: dispose };
}

const codeByComplaint: readonly (readonly [RegExp, ErrorCode])[] = [
  [/permission denied|must be (owner|superuser)|row-level security|query would be affected/u, 'postgresql_denied'],
  [/lock timeout|statement timeout|deadlock/u, 'postgresql_busy'],
  [
    /password authentication failed|no pg_hba\.conf entry|no password supplied|role ".*" does not exist$|database ".*" does not exist/mu,
    'postgresql_login_failed',
  ],
  [/certificate|SSL error|does not support SSL/u, 'postgresql_tls_failed'],
  [
    /could not connect|connection to server .* failed|server closed the connection|terminating connection|starting up|shutting down/u,
    'postgresql_unreachable',
  ],
  [/server version mismatch/u, 'postgresql_tool_missing'],
  [/invalid snapshot identifier|does not exist/u, 'postgresql_changed'],
];

function toolError({ program, connection }: ToolRun, code: number | null, complaint: string): HoldfastError {
  const said = complaint
    .trim()
    .split('\n')
    .filter((line) => !/^(psql|pg_dump)?:?\s*(hint|detail)/iu.test(line))
    .slice(0, 4)
    .join('; ');
  const errorCode = codeByComplaint.find(([pattern]) => pattern.test(complaint))?.[1] ?? 'postgresql_failed';
  // In a recovery nothing is to come back later by itself: what does not exist there will not.
  const isGone = program === 'psql' && (errorCode === 'postgresql_changed' || errorCode === 'postgresql_login_failed');
  const place = `${connectionPlace(connection)}/${connection.database}`;
  return new HoldfastError(isGone ? 'postgresql_failed' : errorCode, `${program} at ${place} ended with ${code}: ${said}`);
}
