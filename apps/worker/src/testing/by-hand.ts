import { execFile } from 'node:child_process';
import { appendFile, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';

/** Follows a README.txt of a snapshot as a person would: its commands, in a shell, word for word. */
const run = promisify(execFile);

/** Who runs a restored server: PostgreSQL refuses root. Empty for this user. */
export const serverUser = process.getuid?.() === 0 ? 'nobody' : '';

/** The commands of a README.txt: its lines that are five blanks in. */
export async function commandsOf(path: string): Promise<string[]> {
  return (await readFile(path, 'utf8')).split('\n').flatMap((line) => /^ {5}(\S.*)$/u.exec(line)?.[1] ?? []);
}

export type Shell = (command: string, as?: string) => Promise<string>;

/** Runs commands in `folder`, with nothing of this process's environment, as this user or as `as`; gives what they print. */
export function openShell(folder: string, replaced: Readonly<Record<string, string>>): Shell {
  return async (command, as = '') => {
    const here = Object.entries(replaced).reduce((text, [words, by]) => text.replaceAll(words, by), command);
    const asUser = as === '' ? ['bash'] : ['setpriv', '--reuid', as, '--clear-groups', 'bash'];
    const env = { PATH: '/usr/lib/postgresql/15/bin:/usr/sbin:/usr/bin:/sbin:/bin', LC_ALL: 'C' };
    return (await run('env', [...asUser, '-e', '-c', here], { env, cwd: folder })).stdout;
  };
}

/** For psql and its like, to the server of keepApart whose data folder is `data` in the shell's folder. */
export const apartArguments = '-h "$PWD/data" -p 5999 -U postgres';

/** Of the tests, whose servers must not meet the one that was backed up: where it listens, and who may ask it. */
export async function keepApart(dataDir: string): Promise<void> {
  await appendFile(join(dataDir, 'postgresql.conf'), `listen_addresses = ''\nunix_socket_directories = '${dataDir}'\nport = 5999\n`);
  await appendFile(join(dataDir, 'pg_hba.conf'), 'local all all trust\n');
}
