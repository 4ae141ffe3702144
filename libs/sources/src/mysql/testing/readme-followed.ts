import { execFile } from 'node:child_process';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { TestMariadb } from './test-mariadb.ts';

/** What README.txt of a part says, to be done with a server. */
export interface FollowedReadme {
  /** Puts back a database with all that is in it. */
  restoreDatabase(name: string): Promise<void>;
  restoreTable(database: string, table: string): Promise<void>;
}

/**
 * Reads `README.txt` in `folder`, a restored part; its commands are run word for word, NAME and TABLE put in, with the stock client. That
 * gets its server by a script of the same name that comes first on the PATH.
 */
export async function followMysqlReadme(folder: string, target: TestMariadb): Promise<FollowedReadme> {
  const readme = await readFile(join(folder, 'README.txt'), 'utf8');
  const commands = readme.split('\n').flatMap((line) => /^ {5}((?:mariadb|cat|if) .*)$/u.exec(line)?.[1] ?? []);
  const oneTable = commands.pop();
  if (oneTable === undefined || commands.length !== 4) throw new Error(`README.txt has other commands than four and one:\n${readme}`);
  const { host, port, user, password } = target.connection;
  const bin = join(folder, 'bin');
  await mkdir(bin);
  const client = `#!/bin/sh\nexec /usr/bin/mariadb --no-defaults --skip-ssl -h${host} -P${port} -u${user} "$@"\n`;
  await writeFile(join(bin, 'mariadb'), client, { mode: 0o755 });
  const run = async (script: string): Promise<void> => {
    const env = { PATH: `${bin}:/usr/bin:/bin`, MYSQL_PWD: password };
    await promisify(execFile)('bash', ['-e', '-o', 'pipefail', '-c', script], { cwd: folder, env });
  };
  return {
    restoreDatabase: (name) => run(commands.join('\n').replaceAll('NAME', name)),
    restoreTable: (database, table) => run(oneTable.replaceAll('NAME', database).replaceAll('TABLE', table)),
  };
}
