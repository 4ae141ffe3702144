import { DatabaseSync } from 'node:sqlite';

/**
 * A program that writes to a SQLite database without a pause, until its parent goes: it moves money between accounts, all of which together
 * is what it was. Each transfer has a number and a row. Arguments: the database. It prints the number of transfers now and then.
 */
const [, , path = ''] = process.argv;
const db = new DatabaseSync(path, { timeout: 10_000 });
const accounts = Number(db.prepare('SELECT count(*) AS n FROM account').get()?.['n']);
const take = db.prepare('UPDATE account SET balance = balance - ?2 WHERE id = ?1');
const give = db.prepare('UPDATE account SET balance = balance + ?2 WHERE id = ?1');
const note = db.prepare('INSERT INTO transfer (source, target, amount, note) VALUES (?, ?, ?, hex(randomblob(64)))');

let transfers = 0;

function transfer(): void {
  const source = 1 + Math.floor(Math.random() * accounts);
  const target = 1 + ((source + Math.floor(Math.random() * (accounts - 1))) % accounts);
  const amount = 1 + Math.floor(Math.random() * 9);
  db.exec('BEGIN IMMEDIATE');
  take.run(source, amount);
  give.run(target, amount);
  note.run(source, target, amount);
  db.exec('COMMIT');
  transfers++;
}

function round(): void {
  for (let n = 0; n < 20; n++) transfer();
  process.send?.(transfers);
  setImmediate(round);
}

process.on('disconnect', () => process.exit(0));
round();
