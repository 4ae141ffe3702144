import { fork } from 'node:child_process';
import { once } from 'node:events';
import { DatabaseSync } from 'node:sqlite';
import { fileURLToPath } from 'node:url';

/** A database of accounts whose balances add up to the same at every moment. */
export const bankTotal = 100_000;
const accountCount = 100;

/** `paddingRows`: of 1 KiB, so that a copy takes its time. */
export function makeBank(path: string, { journalMode = 'wal', paddingRows = 0 } = {}): void {
  const db = new DatabaseSync(path);
  db.exec(`PRAGMA journal_mode = ${journalMode};
    CREATE TABLE account (id INTEGER PRIMARY KEY, balance INTEGER NOT NULL);
    CREATE TABLE transfer (id INTEGER PRIMARY KEY, source INTEGER, target INTEGER, amount INTEGER, note TEXT);
    CREATE TABLE padding (id INTEGER PRIMARY KEY, bytes BLOB);
    WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ${accountCount})
      INSERT INTO account SELECT i, ${bankTotal / accountCount} FROM n;`);
  const padding = db.prepare('INSERT INTO padding (bytes) VALUES (randomblob(1000))');
  db.exec('BEGIN');
  for (let row = 0; row < paddingRows; row++) padding.run();
  db.exec('COMMIT');
  db.close();
}

export interface BankFacts {
  readonly total: number;
  readonly transfers: number;
  /** Accounts whose balance is not what the transfers say. */
  readonly wrong: number;
}

export function bankFacts(path: string): BankFacts {
  const db = new DatabaseSync(path, { readOnly: true });
  const row = db
    .prepare(
      `SELECT (SELECT sum(balance) FROM account) AS total, (SELECT count(*) FROM transfer) AS transfers,
        (SELECT count(*) FROM account WHERE balance <> ${bankTotal / accountCount}
          + (SELECT coalesce(sum(amount), 0) FROM transfer WHERE target = account.id)
          - (SELECT coalesce(sum(amount), 0) FROM transfer WHERE source = account.id)) AS wrong`,
    )
    .get();
  db.close();
  return { total: Number(row?.['total']), transfers: Number(row?.['transfers']), wrong: Number(row?.['wrong']) };
}

export interface BankWriter extends AsyncDisposable {
  transfers(): number;
  pid: number;
}

/** A process that moves money without a pause, until it is disposed of. */
export async function startBankWriter(path: string): Promise<BankWriter> {
  const program = fileURLToPath(new URL('bank-writer.ts', import.meta.url));
  const child = fork(program, [path], { execArgv: ['--disable-warning=ExperimentalWarning'] });
  let transfers = 0;
  child.on('message', (count) => (transfers = Number(count)));
  await Promise.race([
    once(child, 'message'),
    once(child, 'exit').then(() => Promise.reject(new Error(`the writer ended with ${child.exitCode}`))),
  ]);
  return {
    transfers: () => transfers,
    pid: child.pid ?? 0,
    async [Symbol.asyncDispose]() {
      if (child.exitCode !== null || child.signalCode !== null) return;
      const ended = once(child, 'exit');
      child.kill('SIGKILL');
      await ended;
    },
  };
}
