import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { getCACertificates } from 'node:tls';
import type { ClientPrograms } from './client-programs.ts';
import type { MysqlConnectionOptions } from './connection-options.ts';

/** What the programs are told in a file that only their own user may read: everybody on the machine sees their arguments. */
export interface OptionFile extends AsyncDisposable {
  readonly path: string;
}

/** A server that does not answer for so long is tried again later. */
const connectTimeoutSeconds = 15;

/**
 * Writes the connection as an option file, `--defaults-file`, in a private folder of its own below `scratch`. `lines` follow in the group of the
 * program, each `name=value` or a name.
 */
export async function writeOptionFile(
  programs: ClientPrograms,
  connection: MysqlConnectionOptions,
  { lines = [], scratch = tmpdir() }: { readonly lines?: readonly string[] | undefined; readonly scratch?: string | undefined } = {},
): Promise<OptionFile> {
  const folder = await mkdtemp(join(scratch, 'holdfast-mysql-'));
  const dispose = (): Promise<void> => rm(folder, { recursive: true, force: true });
  try {
    const path = join(folder, 'options.cnf');
    const caPath = join(folder, 'ca.pem');
    const { tls, host, port, user, password } = connection;
    if (tls.mode === 'verify-full') await writeFile(caPath, tls.ca ?? getCACertificates('default').join('\n'), { mode: 0o600 });
    const all = [
      '[client]',
      `host=${optionValue(host)}`,
      `port=${port}`,
      // Else `localhost` would mean a socket of the worker's machine.
      'protocol=tcp',
      `user=${optionValue(user)}`,
      ...(password === undefined ? [] : [`password=${optionValue(password)}`]),
      ...tlsLines(programs, tls.mode, caPath),
      // Only the client knows it.
      '[mysql]',
      `connect-timeout=${connectTimeoutSeconds}`,
      ...lines,
      '',
    ];
    await writeFile(path, all.join('\n'), { mode: 0o600 });
    return { path, [Symbol.asyncDispose]: dispose };
  } catch (error) {
    await dispose();
    throw error;
  }
}

/** Quoted, with the escapes that option files know. */
export function optionValue(text: string): string {
  const escapes: Readonly<Record<string, string>> = { '\n': '\\n', '\r': '\\r', '\t': '\\t', '\b': '\\b', '\\': '\\\\', '"': '\\"' };
  // oxlint-disable-next-line no-control-regex -- a backspace is one of those that have an escape
  return `"${text.replaceAll(/[\n\r\t\u0008\\"]/gu, (character) => escapes[character] ?? character)}"`;
}

function tlsLines({ family }: ClientPrograms, mode: MysqlConnectionOptions['tls']['mode'], caPath: string): string[] {
  if (family === 'mysql') {
    if (mode === 'disable') return ['ssl-mode=DISABLED'];
    return mode === 'require' ? ['ssl-mode=REQUIRED'] : ['ssl-mode=VERIFY_IDENTITY', `ssl-ca=${optionValue(caPath)}`];
  }
  if (mode === 'disable') return ['skip-ssl'];
  return mode === 'require' ? ['ssl', 'skip-ssl-verify-server-cert'] : ['ssl', 'ssl-verify-server-cert', `ssl-ca=${optionValue(caPath)}`];
}
