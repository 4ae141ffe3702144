import { existsSync } from 'node:fs';
import { appendFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { setTimeout as delay } from 'node:timers/promises';
import { findClientPrograms } from '@holdfast/sources/mysql/client-programs';
import { runProgram } from '@holdfast/sources/mysql/run-program';
import { clientArguments } from '@holdfast/sources/mysql/statements';
import { RedisConnection } from '@holdfast/sources/redis/redis-connection';
import { noteOf, ordersPerFile, type OrderPlaces } from './order-app.ts';

/**
 * The program of order-app.ts: takes orders without a pause, each into SQLite, MariaDB, Redis and a file, one after the other. Between two
 * orders it stands still while `<control>/freeze` is there, which it answers by `<control>/frozen`.
 */
const places = JSON.parse(process.env['ORDER_PLACES'] ?? '{}') as OrderPlaces;
const never = new AbortController().signal;
process.on('disconnect', () => process.exit(0));

/** One session of the server's own client, which answers each statement before it gets the next. */
async function openMariadb(): Promise<(statement: string) => Promise<void>> {
  let given = Promise.withResolvers<string>();
  async function* statements(): AsyncGenerator<Uint8Array> {
    for (;;) {
      const statement = await given.promise;
      given = Promise.withResolvers();
      yield Buffer.from(statement);
    }
  }
  const answers = runProgram({
    programs: await findClientPrograms({}),
    program: 'client',
    connection: places.mariadb,
    args: [...clientArguments, '--unbuffered', '--database=shop'],
    input: statements(),
    signal: never,
  });
  return async (statement) => {
    given.resolve(`${statement}; SELECT 'done';\n`);
    const { done, value } = await answers.next();
    if (done === true || value.toString() !== 'done\n') throw new Error(`MariaDB answered ${String(value)}`);
  };
}

async function standStill(): Promise<void> {
  await writeFile(join(places.control, 'frozen'), '');
  while (existsSync(join(places.control, 'freeze'))) await delay(10);
  await rm(join(places.control, 'frozen'));
}

const db = new DatabaseSync(places.sqlitePath, { timeout: 10_000 });
const insert = db.prepare('INSERT INTO orders (id, note) VALUES (?, ?)');
const mariadb = await openMariadb();
const redis = await RedisConnection.open(places.redis, never);
for (let id = 1; ; id++) {
  if (existsSync(join(places.control, 'freeze'))) await standStill();
  const note = noteOf(id);
  insert.run(id, note);
  await mariadb(`INSERT INTO orders (id, note) VALUES (${id}, '${note}')`);
  await redis.command(['SET', `order:${id}`, note]);
  await appendFile(join(places.uploads, `orders-${Math.floor(id / ordersPerFile)}.txt`), `${id} ${note}\n`);
  process.send?.(id);
}
