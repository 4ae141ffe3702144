import { fork } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { startTestMariadb, type TestMariadb } from '@holdfast/sources/mysql/testing/test-mariadb';
import { startTestRedisServer, type TestRedisServer } from '@holdfast/sources/redis/testing/test-redis-server';

/** Where each order is written, in this order: a row in SQLite, a row in MariaDB, a key in Redis, a line in a file. */
export interface OrderPlaces {
  readonly sqlitePath: string;
  readonly mariadb: TestMariadb['connection'];
  readonly redis: TestRedisServer['connection'];
  readonly uploads: string;
  /** Where the hooks and the program leave word for each other. */
  readonly control: string;
}

/**
 * An application with its data in four places, and a program that writes them without a pause. In a set of one moment each order is in all
 * four or in none. Its hooks are `freeze-orders`, which returns when the program stands still, and `thaw-orders`.
 */
export interface OrderApp extends AsyncDisposable {
  readonly places: OrderPlaces;
  readonly hooksDir: string;
  /** How many the program has taken. */
  orderCount(): number;
  isFrozen(): boolean;
  /** While it is so, the freeze hook does not return once the program stands still. */
  linger(isLingering: boolean): Promise<void>;
  /** For each time that the thaw hook has ended: the job that it was called for. */
  thaws(): Promise<string[]>;
  /** Ends the program, as an operator does before a recovery; a failure of it until then is thrown here. */
  stop(): Promise<void>;
}

/** New files and such that grow. */
export const ordersPerFile = 500;

/** What each of the four places says of an order. */
export function noteOf(id: number): string {
  return createHash('sha256').update(`order ${id}`).digest('hex');
}

export async function startOrderApp(folder: string): Promise<OrderApp> {
  await using stack = new AsyncDisposableStack();
  const mariadb = stack.use(await startTestMariadb());
  const redis = stack.use(await startTestRedisServer());
  const [data, uploads, control, hooksDir] = ['data', 'data/uploads', 'control', 'hooks'].map((name) => join(folder, name)) as [
    string,
    string,
    string,
    string,
  ];
  for (const path of [data, uploads, control, hooksDir]) await mkdir(path, { mode: 0o755 });
  const sqlitePath = join(data, 'shop.db');
  const db = new DatabaseSync(sqlitePath);
  db.exec('PRAGMA journal_mode = wal; CREATE TABLE orders (id INTEGER PRIMARY KEY, note TEXT)');
  db.close();
  await mariadb.query('CREATE DATABASE shop; CREATE TABLE shop.orders (id INT PRIMARY KEY, note CHAR(64) NOT NULL) ENGINE=InnoDB');
  await writeHooks(hooksDir, control);
  const places: OrderPlaces = { sqlitePath, mariadb: mariadb.connection, redis: redis.connection, uploads, control };
  const child = fork(join(import.meta.dirname, 'order-writer.ts'), [], {
    env: { PATH: process.env['PATH'] ?? '', ORDER_PLACES: JSON.stringify(places) },
    execArgv: ['--disable-warning=ExperimentalWarning'],
  });
  const ended = once(child, 'exit');
  const stop = async (): Promise<void> => {
    if (child.exitCode !== null) throw new Error(`the program that takes orders ended by itself, with ${child.exitCode}`);
    child.kill('SIGKILL');
    await ended;
  };
  stack.defer(async () => {
    child.kill('SIGKILL');
    await ended;
  });
  let count = 0;
  child.on('message', (id) => (count = Number(id)));
  await Promise.race([once(child, 'message'), ended.then(stop)]);
  const rest = stack.move();
  return {
    places,
    hooksDir,
    orderCount: () => count,
    isFrozen: () => existsSync(join(control, 'frozen')),
    linger: (isLingering) => (isLingering ? writeFile(join(control, 'linger'), '') : rm(join(control, 'linger'))),
    thaws: async () => (existsSync(join(control, 'thaws')) ? (await readFile(join(control, 'thaws'), 'utf8')).trim().split('\n') : []),
    stop,
    [Symbol.asyncDispose]: () => rest.disposeAsync(),
  };
}

async function writeHooks(hooksDir: string, control: string): Promise<void> {
  const hooks = {
    'freeze-orders': `touch "${control}/freeze"
while [ ! -e "${control}/frozen" ]; do sleep 0.02; done
while [ -e "${control}/linger" ]; do sleep 0.02; done`,
    // When it returns the program goes on, so that the next freeze does not take the answer of this one for its own.
    'thaw-orders': `rm -f "${control}/freeze"
while [ -e "${control}/frozen" ]; do sleep 0.02; done
echo "$HOLDFAST_JOB_ID" >> "${control}/thaws"`,
  };
  for (const [name, script] of Object.entries(hooks))
    await writeFile(join(hooksDir, name), `#!/bin/sh\nset -e\n${script}\n`, { mode: 0o755 });
}

/** A copy of the four places, recovered. */
export interface OrderSet {
  readonly sqlitePath: string;
  readonly mariadb: { readonly server: TestMariadb; readonly database: string };
  readonly redis: Pick<TestRedisServer, 'command'>;
  readonly uploads: string;
}

/** The orders of each place, by their numbers, each as `number note`. */
export async function readOrders({ sqlitePath, mariadb, redis, uploads }: OrderSet): Promise<Record<string, string[]>> {
  const db = new DatabaseSync(sqlitePath, { readOnly: true });
  const rows = db.prepare('SELECT id, note FROM orders').all();
  db.close();
  const keys = ((await redis.command('KEYS', 'order:*')) as Buffer[]).map(String);
  const notes = (await redis.command('MGET', ...keys)) as Buffer[];
  const files = await Promise.all((await readdir(uploads)).map((name) => readFile(join(uploads, name), 'utf8')));
  const found = {
    sqlite: rows.map((row) => `${Number(row['id'])} ${String(row['note'])}`),
    mariadb: (await mariadb.server.query('SELECT id, note FROM orders', { database: mariadb.database })).map((row) => row.join(' ')),
    redis: keys.map((key, nth) => `${key.slice('order:'.length)} ${String(notes[nth])}`),
    files: files.flatMap((text) => text.split('\n').slice(0, -1)),
  };
  const byNumber = (a: string, b: string): number => Number.parseInt(a, 10) - Number.parseInt(b, 10);
  return Object.fromEntries(Object.entries(found).map(([place, orders]) => [place, orders.toSorted(byNumber)]));
}

/** What all four places hold when `count` orders have been taken. */
export function ordersUpTo(count: number): string[] {
  return Array.from({ length: count }, (_, nth) => `${nth + 1} ${noteOf(nth + 1)}`);
}
