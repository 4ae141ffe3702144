/**
 * What a logical backup of Holdfast's own database is made of: the names and hashes of its migrations, which say what its tables look like,
 * and the rows of each table as lines of JSON, one row a line, as PostgreSQL's `row_to_json` writes them. They go back through
 * `json_populate_recordset`, so that numbers of any size and times to the microsecond stay what they were.
 */
export interface OwnDatabaseFacts {
  /** In the order in which they were applied. */
  readonly migrations: readonly OwnMigration[];
  readonly tables: readonly OwnTable[];
  /** `server_version` of the server that was read. */
  readonly serverVersion: string;
}

export interface OwnMigration {
  readonly name: string;
  /** SHA-256 of its file, in hex. */
  readonly checksum: string;
}

export interface OwnTable {
  readonly name: string;
  readonly columns: readonly string[];
  readonly rowCount: number;
}

/** The schema of the tables that migrations make. Queues that lie in the same database have one of their own and are not backed up: rows are the truth. */
export const ownSchema = 'public';

/**
 * Tables whose rows are of no use elsewhere: processes that are not there, trials of places that live for minutes, and the record of
 * migrations, which is made anew.
 */
export const tablesLeftOut: readonly string[] = ['worker_processes', 'storage_tests', '_prisma_migrations'];

/** A name in SQL. */
export function quoted(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}
