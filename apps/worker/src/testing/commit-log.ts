import { setTimeout as delay } from 'node:timers/promises';
import { connectDatabase } from '@holdfast/sources/postgresql/connect';
import { formatLsn, parseLsn } from '@holdfast/sources/postgresql/lsn';
import type { TestPostgres } from '@holdfast/sources/postgresql/testing/test-postgres';

/**
 * Rows of `committed (row, writer)`, each written by a transaction of its own, and what the server's own WAL says of when each came to be.
 * That is read by pg_walinspect, and not by anything of ours.
 */
export interface CommitLog {
  /** By what their clients were told, in no order. */
  readonly acknowledged: readonly Acknowledged[];
  /** Each transaction of the server that ended, in the order of WAL: what a recovery goes by. */
  readonly ended: readonly EndedTransaction[];
}

interface Acknowledged {
  readonly row: number;
  readonly xid: string;
  /** After the client had the answer: its commit is before this place. */
  readonly seenLsn: bigint;
}

export interface EndedTransaction {
  readonly startLsn: bigint;
  readonly endLsn: bigint;
  readonly timeUs: bigint;
  /** The row that it committed; null for one that did something else, or was rolled back. */
  readonly row: number | null;
}

export interface RunningWriters {
  /** Lets each writer end what it has begun. */
  stop(): Promise<Acknowledged[]>;
}

const maxPauseMs = 8;
/** One in so many transactions is rolled back. */
const rollbackEvery = 7;

/** Makes the table and begins to write on so many connections. */
export async function startWriters(server: TestPostgres, count: number): Promise<RunningWriters> {
  await server.query('CREATE TABLE committed (row int GENERATED ALWAYS AS IDENTITY, writer int); CREATE EXTENSION pg_walinspect');
  const stopping = new AbortController();
  const acknowledged: Acknowledged[] = [];
  const writing = Promise.all(Array.from({ length: count }, (_, writer) => write(server, writer, stopping.signal, acknowledged)));
  // Whoever stops them hears of it.
  writing.catch(() => undefined);
  return {
    async stop() {
      stopping.abort();
      await writing;
      return acknowledged;
    },
  };
}

async function write(server: TestPostgres, writer: number, stopping: AbortSignal, acknowledged: Acknowledged[]): Promise<void> {
  const { host, port, user, password } = server;
  await using sql = await connectDatabase({ host, port, user, password, database: 'postgres', tls: { mode: 'disable' } });
  const insert = 'INSERT INTO committed (writer) VALUES ($1) RETURNING row, pg_current_xact_id()::xid::text AS xid';
  for (let nth = 1; !stopping.aborted; nth++) {
    if (nth % rollbackEvery === 0) {
      await sql.query('BEGIN');
      await sql.query(insert, [writer]);
      await sql.query('ROLLBACK');
    } else {
      const [made] = await sql.query<{ row: number; xid: string }>(insert, [writer]);
      const [seen] = await sql.query<{ lsn: string }>('SELECT pg_current_wal_insert_lsn()::text AS lsn');
      if (made === undefined || seen === undefined) throw new Error('the server gave no row');
      acknowledged.push({ ...made, seenLsn: parseLsn(seen.lsn) });
    }
    await delay(Math.random() * maxPauseMs);
  }
}

/** Reads what the server's WAL says since a place that it still has. */
export async function readCommitLog(server: TestPostgres, acknowledged: readonly Acknowledged[], sinceLsn: bigint): Promise<CommitLog> {
  const rowOf = new Map(acknowledged.map(({ row, xid }) => [xid, row]));
  const ends = await server.query<{ start: string; end: string; xid: string; us: string; type: string }>(
    `SELECT start_lsn::text AS start, end_lsn::text AS "end", xid::text AS xid, record_type AS type,
      (extract(epoch FROM split_part(description, ';', 1)::timestamptz) * 1000000)::bigint::text AS us
     FROM pg_get_wal_records_info('${formatLsn(sinceLsn)}', pg_current_wal_flush_lsn())
     WHERE resource_manager = 'Transaction' AND record_type IN ('COMMIT', 'ABORT') ORDER BY start_lsn`,
  );
  const ended = ends.map(({ start, end, xid, us, type }) => ({
    startLsn: parseLsn(start),
    endLsn: parseLsn(end),
    timeUs: BigInt(us),
    row: type === 'COMMIT' ? (rowOf.get(xid) ?? null) : null,
  }));
  return { acknowledged, ended };
}

/**
 * The place where the first record begins that begins at `lsn` or behind it. `sinceLsn` is the beginning of a record before it:
 * pg_get_wal_record_info, which looks for one from any place on, does not find it behind a record that ends with its page.
 */
export async function recordAt(server: TestPostgres, sinceLsn: bigint, lsn: bigint): Promise<bigint> {
  const [record] = await server.query<{ start: string | null }>(
    `SELECT min(start_lsn)::text AS start FROM pg_get_wal_records_info('${formatLsn(sinceLsn)}', pg_current_wal_flush_lsn())
     WHERE start_lsn >= '${formatLsn(lsn)}'`,
  );
  if (typeof record?.start !== 'string') throw new Error(`the server has no record at ${formatLsn(lsn)}`);
  return parseLsn(record.start);
}

/** Rows that are there when a server stops as it does for a time: before the first end of a transaction behind it. */
export function rowsByTime({ ended }: CommitLog, timeUs: bigint, inclusive: boolean): number[] {
  const stop = ended.findIndex((each) => (inclusive ? each.timeUs > timeUs : each.timeUs >= timeUs));
  return rowsOf(stop === -1 ? ended : ended.slice(0, stop));
}

/** Rows whose commits begin before a place. */
export function rowsBefore({ ended }: CommitLog, lsn: bigint): number[] {
  return rowsOf(ended.filter(({ startLsn }) => startLsn < lsn));
}

function rowsOf(ended: readonly EndedTransaction[]): number[] {
  return ended.flatMap(({ row }) => (row === null ? [] : [row])).toSorted((a, b) => a - b);
}
