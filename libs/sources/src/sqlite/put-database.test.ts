import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { putDatabase, type PutDatabaseOptions } from './put-database.ts';
import { bankFacts, bankTotal, makeBank, startBankWriter } from './testing/bank.ts';

let folder: string;
let from: string;
let to: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'holdfast-put-'));
  [from, to] = [join(folder, 'copy.db'), join(folder, 'live.db')];
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const put = (more: Partial<PutDatabaseOptions> = {}) =>
  putDatabase({ from, to, shownPath: to, overwrite: true, patienceMs: 10_000, signal: new AbortController().signal, ...more });
const integrity = (path: string): unknown => {
  const db = new DatabaseSync(path);
  const row = db.prepare('PRAGMA integrity_check').get();
  db.close();
  return row?.['integrity_check'];
};
const makeOther = (path: string, { journalMode = 'wal', pageSize = 4096 } = {}): DatabaseSync => {
  const db = new DatabaseSync(path);
  db.exec(`PRAGMA page_size = ${pageSize}; PRAGMA journal_mode = ${journalMode}; CREATE TABLE other (a); INSERT INTO other VALUES (1)`);
  return db;
};

test('a database that is not there is made', async () => {
  makeBank(from, { paddingRows: 100 });
  expect(await put({ overwrite: false })).toMatchObject({ findings: [] });
  expect(bankFacts(to)).toMatchObject({ total: bankTotal, wrong: 0 });
});

test.each(['wal', 'delete'])(
  'one in use with journal mode %s becomes the other one at once, for whoever has it open',
  async (journalMode) => {
    makeBank(from, { paddingRows: 2_000 });
    using user = makeOther(to, { journalMode });
    await put();
    expect(Number(user.prepare('SELECT sum(balance) AS total FROM account').get()?.['total'])).toBe(bankTotal);
    user.exec('CREATE TABLE later (a)');
    expect(integrity(to)).toBe('ok');
  },
);

test('one that is written to without a pause is replaced between two transactions', { timeout: 30_000 }, async () => {
  makeBank(from, { paddingRows: 2_000 });
  makeBank(to);
  await using writer = await startBankWriter(to);
  await put();
  const before = writer.transfers();
  await expect.poll(() => writer.transfers(), { timeout: 20_000 }).toBeGreaterThan(before);
  expect(bankFacts(to)).toMatchObject({ total: bankTotal, wrong: 0 });
  const db = new DatabaseSync(to, { readOnly: true });
  expect(Number(db.prepare('SELECT count(*) AS n FROM padding').get()?.['n'])).toBe(2_000);
  db.close();
});

test('one that is there is kept unless it may be replaced', async () => {
  makeBank(from);
  makeOther(to).close();
  await expect(put({ overwrite: false })).rejects.toMatchObject({ code: 'target_not_empty' });
  expect(integrity(to)).toBe('ok');
});

test('a damaged copy replaces nothing', async () => {
  makeBank(from, { paddingRows: 2_000, journalMode: 'delete' });
  const bytes = await readFile(from);
  bytes.fill(0x5a, 300_000, 340_000);
  await writeFile(from, bytes);
  makeOther(to, { journalMode: 'delete' }).close();
  const before = await readFile(to);
  await expect(put()).rejects.toMatchObject({ code: 'sqlite_damaged' });
  expect(await readFile(to)).toEqual(before);
});

test('one that somebody locks, and one with WAL and another page size, stay as they are', async () => {
  makeBank(from);
  using owner = makeOther(to, { journalMode: 'delete' });
  owner.exec('BEGIN EXCLUSIVE');
  await expect(put({ patienceMs: 800 })).rejects.toMatchObject({ code: 'sqlite_busy' });
  owner.exec('ROLLBACK');
  const wide = join(folder, 'wide.db');
  makeOther(wide, { pageSize: 8192 }).close();
  await expect(put({ to: wide })).rejects.toMatchObject({ code: 'sqlite_denied' });
  expect([integrity(to), integrity(wide)]).toEqual(['ok', 'ok']);
});

test('a process that is killed in the middle leaves the old content', async () => {
  makeBank(from, { paddingRows: 60_000 });
  makeOther(to, { journalMode: 'delete' }).close();
  const putting = put();
  putting.catch(() => undefined);
  await expect.poll(() => existsSync(`${to}-journal`), { timeout: 10_000, interval: 2 }).toBe(true);
  const [pid = ''] = execFileSync('sh', ['-c', `pgrep -P ${process.pid} -f '[c]opy-process'`], { encoding: 'utf8' }).split('\n');
  process.kill(Number(pid), 'SIGKILL');
  await expect(putting).rejects.toMatchObject({ code: 'sqlite_failed' });
  const db = new DatabaseSync(to);
  expect(db.prepare('SELECT count(*) AS n FROM other').get()?.['n']).toBe(1);
  db.close();
  expect(integrity(to)).toBe('ok');
});
