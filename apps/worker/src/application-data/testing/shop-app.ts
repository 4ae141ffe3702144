import { fork } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdir, readFile, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { fileURLToPath } from 'node:url';
import type { TestPostgres } from '@holdfast/sources/postgresql/testing/test-postgres';

/**
 * An application with its data in three places: each order is a row in SQLite, a row in PostgreSQL and a file, written one after the other by a
 * program of its own. In a set that is of one moment each order is in all three or in none.
 */
export interface ShopApp extends AsyncDisposable {
  readonly sqlitePath: string;
  readonly uploads: string;
  /** Hooks that make the program stand still between two orders, and go on. */
  readonly hooksDir: string;
  orders(): number;
  isFrozen(): boolean;
}

export interface ShopSet {
  readonly sqlite: readonly number[];
  readonly postgresql: readonly number[];
  readonly files: readonly number[];
}

export async function startShopApp(folder: string, server: TestPostgres, { uploadBytes = 1000 } = {}): Promise<ShopApp> {
  const [sqlitePath, uploads, hooksDir, control] = ['app/shop.db', 'app/uploads', 'hooks', 'control'].map((name) => join(folder, name)) as [
    string,
    string,
    string,
    string,
  ];
  for (const one of [join(folder, 'app'), uploads, hooksDir, control]) await mkdir(one, { recursive: true });
  await chmod(hooksDir, 0o755);
  const db = new DatabaseSync(sqlitePath);
  db.exec('PRAGMA journal_mode = wal; CREATE TABLE orders (id INTEGER PRIMARY KEY, note TEXT)');
  db.close();
  await server.query('CREATE DATABASE orders');
  await server.query('CREATE TABLE orders (id int PRIMARY KEY, note text)', { database: 'orders' });
  await writeHook(
    hooksDir,
    'freeze-shop',
    `touch "${control}/freeze"\nwhile [ ! -e "${control}/frozen" ]; do sleep 0.02; done\necho "frozen for $HOLDFAST_JOB_ID"`,
  );
  await writeHook(hooksDir, 'thaw-shop', `rm -f "${control}/freeze"\necho "thawed by $HOLDFAST_HOOK" | tee -a "${control}/thaws"`);
  const connection = JSON.stringify({
    host: server.host,
    port: server.port,
    user: server.user,
    password: server.password,
    database: 'orders',
    tls: { mode: 'disable' },
  });
  const program = fileURLToPath(new URL('shop-program.ts', import.meta.url));
  const child = fork(program, [sqlitePath, uploads, control, connection, String(uploadBytes)], {
    execArgv: ['--disable-warning=ExperimentalWarning'],
  });
  let state = { orders: 0, isFrozen: false };
  child.on('message', (message) => (state = message as typeof state));
  await once(child, 'message');
  return {
    sqlitePath,
    uploads,
    hooksDir,
    orders: () => state.orders,
    isFrozen: () => state.isFrozen,
    async [Symbol.asyncDispose]() {
      const ended = once(child, 'exit');
      child.kill('SIGKILL');
      await ended;
    },
  };
}

export async function writeHook(folder: string, name: string, script: string): Promise<void> {
  await writeFile(join(folder, name), `#!/bin/sh\nset -e\n${script}\n`);
  await chmod(join(folder, name), 0o755);
}

/** What the three places hold, by the numbers of the orders. */
export async function readShop(sqlitePath: string, server: TestPostgres, database: string, uploads: string): Promise<ShopSet> {
  const db = new DatabaseSync(sqlitePath, { readOnly: true });
  const rows = db.prepare('SELECT id FROM orders ORDER BY id').all();
  db.close();
  const orders = await server.query<{ id: number }>('SELECT id FROM orders ORDER BY id', { database });
  const files: number[] = [];
  for (const name of await readdir(uploads)) {
    const [line = ''] = (await readFile(join(uploads, name), 'utf8')).split('\n');
    files.push(Number(line));
  }
  return {
    sqlite: rows.map((row) => Number(row['id'])),
    postgresql: orders.map(({ id }) => id),
    files: files.toSorted((a, b) => a - b),
  };
}
