import { randomBytes } from 'node:crypto';
import pg from 'pg';
import { HoldfastError } from '@holdfast/errors/holdfast-error';
import type { InspectedConnection } from './inspection-log.ts';
import { withClient } from './inspection-log.ts';
import type { TimeBudget } from './time-budget.ts';

/**
 * Queries of whoever wants to know of a restore that it holds what they need, each with the one value that it must give:
 *
 *     { "name": "orders of yesterday", "database": "shop", "sql": "SELECT count(*) > 1000 FROM orders", "expected": true }
 *
 * They are foreign text: each is one statement inside of a SELECT, in a transaction that only reads, as a role that may read all tables
 * and nothing else. A superuser could run programs and read files at the worker.
 */
export interface RestoreAssertion {
  readonly name: string;
  readonly database: string;
  readonly sql: string;
  readonly expected: string | number | boolean | null;
}

export interface AssertionResult {
  readonly name: string;
  readonly database: string;
  readonly hasPassed: boolean;
  /** What the query gave, or why it gave nothing. */
  readonly actual: string;
}

/** Longer ones are no answer to a question. */
const maxValueLength = 10_000;
const maxShownLength = 200;

/** Runs them all, on a server that is thrown away: a role is made for them. */
export async function runAssertions(
  connection: InspectedConnection,
  assertions: readonly RestoreAssertion[],
  { budget, signal }: { readonly budget: TimeBudget; readonly signal: AbortSignal },
): Promise<AssertionResult[]> {
  if (assertions.length === 0) return [];
  const role = `holdfast_${randomBytes(6).toString('hex')}`;
  await withClient(connection, signal, (client) =>
    client.query(`CREATE ROLE ${role} LOGIN BYPASSRLS CONNECTION LIMIT 1 IN ROLE pg_read_all_data`),
  );
  const results: AssertionResult[] = [];
  for (const assertion of assertions) {
    const { name, database, expected } = assertion;
    try {
      await withClient({ ...connection, database }, signal, (client) =>
        client.query(`GRANT CONNECT ON DATABASE ${client.escapeIdentifier(database)} TO ${role}`),
      );
      const answer = await withClient({ ...connection, database, user: role }, signal, (client) => ask(client, assertion.sql, budget));
      const hasPassed = 'value' in answer && answer.value === expected;
      const actual = 'value' in answer ? JSON.stringify(answer.value) : answer.reason;
      results.push({ name, database, hasPassed, actual: actual.slice(0, maxShownLength) });
    } catch (error) {
      if (!(error instanceof pg.DatabaseError)) throw error;
      results.push({ name, database, hasPassed: false, actual: error.message.slice(0, maxShownLength) });
    }
  }
  return results;
}

/** One value, or why there is none. */
type Answer = { readonly value: unknown } | { readonly reason: string };

async function ask(client: pg.Client, sql: string, budget: TimeBudget): Promise<Answer> {
  await client.query('BEGIN READ ONLY');
  await budget.limitNext(client);
  const text = `SELECT left(to_jsonb(answer)::text, ${maxValueLength}) AS answer FROM (\n${sql.replace(/[\s;]+$/u, '')}\n) AS answer LIMIT 2`;
  // The extended protocol takes one statement: with the simple one a COMMIT could stand in between.
  const config: pg.QueryConfig & { queryMode: 'extended' } = { text, queryMode: 'extended' };
  const { rows } = await client.query<{ answer: string }>(config);
  const [row] = rows;
  if (row === undefined || rows.length > 1) return { reason: row === undefined ? 'no row' : 'more than one row' };
  if (row.answer.length === maxValueLength) return { reason: 'a value that is too long' };
  const values = Object.values(answerOf(row.answer));
  return values.length === 1 ? { value: values[0] } : { reason: `${values.length} columns instead of one` };
}

function answerOf(text: string): object {
  const answer: unknown = JSON.parse(text);
  if (typeof answer === 'object' && answer !== null) return answer;
  throw new HoldfastError('internal', 'a row came as no JSON object');
}
