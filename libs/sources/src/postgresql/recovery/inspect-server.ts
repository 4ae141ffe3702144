import { checkRelations, type CheckedRelations } from './check-relations.ts';
import { inspectDatabase, type DatabaseReport } from './inspect-database.ts';
import { InspectionLog, withClient, type InspectedConnection, type InspectionFinding } from './inspection-log.ts';
import { runAssertions, type AssertionResult, type RestoreAssertion } from './run-assertions.ts';
import { TimeBudget } from './time-budget.ts';

/**
 * What a restore test looks at in the server that it restored: whether the catalog of every database can be read, how many rows there
 * are, what amcheck says of tables and indexes, whether pages have the checksums that they should, and what its owner asserts.
 */
export interface InspectionOptions {
  readonly connection: Omit<InspectedConnection, 'database'>;
  /** True at a server that is thrown away: amcheck and a role for the assertions may be made. */
  readonly isScratch: boolean;
  /** Tables and indexes by amcheck, which reads all of them. Default true. */
  readonly checksRelations?: boolean | undefined;
  /** Up to so many rows of each table are counted one by one; larger ones are estimated. */
  readonly exactRowLimit: number;
  readonly statementTimeoutMs: number;
  readonly totalTimeoutMs: number;
  readonly assertions: readonly RestoreAssertion[];
  readonly signal: AbortSignal;
}

export interface Inspection {
  readonly durationMs: number;
  readonly bytes: number;
  readonly rowCount: number;
  /** Whether every row was counted. */
  readonly isExact: boolean;
  readonly databases: readonly (DatabaseReport & { readonly checked: CheckedRelations | null })[];
  readonly assertions: readonly AssertionResult[];
  /** Empty when all is well; the first 1,000 of findingCount. */
  readonly findings: readonly InspectionFinding[];
  readonly findingCount: number;
  /** What was not looked at, and why. */
  readonly notes: readonly string[];
}

interface DatabaseRow {
  readonly datname: string;
  readonly datallowconn: boolean;
}

/** A database that takes connections on every server. */
const meetingDatabase = 'template1';

/**
 * Looks at all databases of a server. Damage and assertions that do not hold are in what it gives. Codes: postgresql_recovery_failed
 * (the server ended meanwhile); the signal's reason.
 */
export async function inspectServer(options: InspectionOptions): Promise<Inspection> {
  const { isScratch, exactRowLimit, checksRelations = true, signal } = options;
  const startedAtMs = performance.now();
  const log = new InspectionLog();
  const budget = new TimeBudget(options.totalTimeoutMs, options.statementTimeoutMs);
  const meeting = { ...options.connection, database: meetingDatabase };
  const rows = await withClient(meeting, signal, async (client) => {
    const { rows: settings } = await client.query<{ data_checksums: string }>('SHOW data_checksums');
    if (settings[0]?.data_checksums !== 'on') log.note('pages have no checksums: the cluster was made without');
    return (await client.query<DatabaseRow>('SELECT datname, datallowconn FROM pg_database ORDER BY datname')).rows;
  });

  const databases: Inspection['databases'][number][] = [];
  for (const { datname, datallowconn } of rows) {
    if (!datallowconn) {
      if (datname !== 'template0') log.note(`${datname}: not looked at, for it takes no connections`);
      continue;
    }
    const about = { kind: 'catalog_unreadable', database: datname, relation: null } as const;
    const found = await log.attempt(about, () =>
      withClient({ ...meeting, database: datname }, signal, async (client) => {
        const report = await inspectDatabase(client, datname, { exactRowLimit, budget, log });
        const checked =
          report === null || !checksRelations ? null : await checkRelations(client, datname, { mayCreate: isScratch, budget, log });
        return report === null ? null : { ...report, checked };
      }),
    );
    if (found !== null) databases.push(found);
  }
  await countChecksumFailures(meeting, signal, log);
  if (!isScratch && options.assertions.length > 0) log.note('assertions need a server that is thrown away: they were not run');
  const assertions = isScratch ? await runAssertions(meeting, options.assertions, { budget, signal }) : [];
  for (const { name, database, hasPassed, actual } of assertions) {
    if (!hasPassed) log.find({ kind: 'assertion_failed', database, relation: null, detail: `${name}: ${actual}` });
  }
  return {
    durationMs: performance.now() - startedAtMs,
    bytes: databases.reduce((sum, database) => sum + database.bytes, 0),
    rowCount: databases.reduce((sum, database) => sum + database.rowCount, 0),
    isExact: databases.every((database) => database.isExact),
    databases,
    assertions,
    findings: log.findings,
    findingCount: log.findingCount,
    notes: log.notes,
  };
}

/** Pages that were read and did not match, whoever read them: the queries above, and the recovery. */
async function countChecksumFailures(meeting: InspectedConnection, signal: AbortSignal, log: InspectionLog): Promise<void> {
  const query = `SELECT coalesce(datname, '(shared)') AS name, checksum_failures AS count FROM pg_stat_database WHERE checksum_failures > 0`;
  const { rows } = await withClient(meeting, signal, (client) => client.query<{ name: string; count: string }>(query));
  for (const { name, count } of rows) {
    log.find({ kind: 'checksum_failed', database: name, relation: null, detail: `${count} pages that were read have a wrong checksum` });
  }
}
