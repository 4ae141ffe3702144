import type { ClientTools } from './client-tools.ts';
import { quoteName, quoteIdentifier, type QualifiedName } from './quote.ts';

/** Any would do, as long as it stays: dumps of the same schema are the same bytes then. */
const restrictKey = 'holdfast';

export interface DumpChoice {
  readonly section: 'pre-data' | 'post-data';
  readonly snapshot?: string;
  readonly encoding?: string;
  readonly lockTimeoutMs: number;
  readonly schemas?: readonly string[] | undefined;
  readonly tables?: readonly QualifiedName[];
  readonly excludeTables?: readonly QualifiedName[];
}

/** Arguments of pg_dump for one section of a schema as SQL. Names are quoted patterns, in which nothing is a wildcard. */
export function dumpArguments(tools: ClientTools, choice: DumpChoice): string[] {
  const { section, snapshot, encoding, lockTimeoutMs, schemas = [], tables = [], excludeTables = [] } = choice;
  return [
    `--section=${section}`,
    '--no-password',
    '--no-sync',
    ...restrictArguments(tools),
    ...(snapshot === undefined ? [] : [`--snapshot=${snapshot}`]),
    ...(encoding === undefined ? [] : [`--encoding=${encoding}`]),
    ...(lockTimeoutMs === 0 ? [] : [`--lock-wait-timeout=${lockTimeoutMs}`]),
    ...schemas.map((schema) => `--schema=${quoteIdentifier(schema)}`),
    ...tables.map((table) => `--table=${quoteName(table)}`),
    ...excludeTables.map((table) => `--exclude-table=${quoteName(table)}`),
  ];
}

/** Arguments of pg_dumpall for roles and tablespaces. */
export function globalsArguments(
  tools: ClientTools,
  { database, withPasswords }: { readonly database: string; readonly withPasswords: boolean },
): string[] {
  // A name with an equals sign would be read as a connection string.
  const from = /^[\w-]+$/u.test(database) ? [`--database=${database}`] : [];
  return [
    '--globals-only',
    '--no-password',
    '--no-sync',
    ...restrictArguments(tools),
    ...from,
    ...(withPasswords ? [] : ['--no-role-passwords']),
  ];
}

function restrictArguments({ takesRestrictKey }: ClientTools): string[] {
  return takesRestrictKey ? [`--restrict-key=${restrictKey}`] : [];
}
