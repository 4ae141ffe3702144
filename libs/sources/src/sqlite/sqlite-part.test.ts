import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { SourceFile } from '../source.ts';
import { openSqlitePart, type SqlitePart, type SqlitePartOptions } from './sqlite-part.ts';
import { bankFacts, bankTotal, makeBank, startBankWriter } from './testing/bank.ts';

let folder: string;
let database: string;
const opened: SqlitePart[] = [];

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'holdfast-sqlite-'));
  database = join(folder, 'bank.db');
});
afterEach(async () => {
  for (const part of opened.splice(0)) await part.close();
  await rm(folder, { recursive: true, force: true });
});

const never = new AbortController().signal;
const openPart = async (more: Partial<SqlitePartOptions> = {}): Promise<SqlitePart> => {
  const scratch = join(folder, 'scratch');
  const limits = { blocksWriters: false, patienceMs: 10_000, check: 'full' as const };
  const part = await openSqlitePart({ name: 'bank', path: database, roots: [folder], scratch, ...limits, signal: never, ...more });
  opened.push(part);
  return part;
};
const contentOf = async (file: SourceFile): Promise<Buffer> => {
  const parts: Buffer[] = [];
  const into = new Uint8Array(1024 * 1024);
  for (let at = 0, count = -1; count !== 0; at += count) {
    count = await file.read(into, at);
    parts.push(Buffer.from(into.subarray(0, count)));
  }
  await file.close();
  return Buffer.concat(parts);
};
/** What comes back: the file that the part shows, somewhere else. */
const restored = async (part: SqlitePart): Promise<string> => {
  const [entry] = await part.source.readDirectory('/');
  const name = entry?.kind === 'node' ? entry.node.name : '';
  const path = join(folder, `restored-${name}`);
  await writeFile(path, await contentOf(await part.source.openFile(`/${name}`)));
  return path;
};
/** Without the header, in which SQLite counts the changes of the file. */
const pagesOf = (bytes: Buffer): Buffer => bytes.subarray(100);
/** Processes whose parent we are. */
const children = (): string =>
  execFileSync('sh', ['-c', `ps -o args= --ppid ${process.pid} | grep -c '[c]opy-process' || true`], { encoding: 'utf8' }).trim();

describe('a database that is written to', () => {
  test('with WAL has its moment at once, of which the copy is, while transfers go on', { timeout: 30_000 }, async () => {
    makeBank(database, { paddingRows: 20_000 });
    await using writer = await startBankWriter(database);
    const part = await openPart();
    const before = bankFacts(database).transfers;
    await part.takeMoment(never);
    const after = bankFacts(database).transfers;
    await expect.poll(() => writer.transfers(), { timeout: 20_000 }).toBeGreaterThan(after + 20);
    const facts = bankFacts(await restored(part));
    expect(facts).toMatchObject({ total: bankTotal, wrong: 0 });
    expect(facts.transfers).toBeGreaterThanOrEqual(before);
    expect(facts.transfers).toBeLessThanOrEqual(after);
    expect(await part.facts()).toMatchObject({ journalMode: 'wal', check: 'full', findings: [] });
  });

  test('without WAL holds writers up only when it may', { timeout: 30_000 }, async () => {
    makeBank(database, { journalMode: 'delete', paddingRows: 20_000 });
    await using writer = await startBankWriter(database);
    const part = await openPart({ patienceMs: 1_500 });
    await expect(part.takeMoment(never)).rejects.toMatchObject({ code: 'sqlite_busy', message: expect.stringContaining(database) });
    const blocking = await openPart({ blocksWriters: true, scratch: join(folder, 'scratch2') });
    await blocking.takeMoment(never);
    expect(bankFacts(await restored(blocking))).toMatchObject({ total: bankTotal, wrong: 0 });
    const after = writer.transfers();
    await expect.poll(() => writer.transfers(), { timeout: 20_000 }).toBeGreaterThan(after + 20);
  });

  test('without WAL and with a pause is copied as it is, its moment known when it is whole', async () => {
    makeBank(database, { journalMode: 'delete', paddingRows: 100 });
    const part = await openPart();
    await part.takeMoment(never);
    expect(pagesOf(await readFile(await restored(part)))).toEqual(pagesOf(await readFile(database)));
    expect(await part.facts()).toMatchObject({ journalMode: 'delete' });
  });
});

describe('what goes wrong', () => {
  test('a file that is no database is refused by name', async () => {
    await writeFile(database, 'no database, though it is long enough to have a header of one hundred bytes '.repeat(9));
    await expect((await openPart()).takeMoment(never)).rejects.toMatchObject({ code: 'sqlite_damaged' });
    await expect(openPart({ path: folder })).rejects.toMatchObject({ code: 'sqlite_damaged' });
    await expect(openPart({ path: join(folder, 'gone.db') })).rejects.toMatchObject({ code: 'path_not_found' });
  });

  test('a symlink leads nowhere outside of the roots', async () => {
    makeBank(database);
    const outside = await mkdtemp(join(tmpdir(), 'holdfast-outside-'));
    await symlink(database, join(outside, 'link.db'));
    await expect(openPart({ path: join(outside, 'link.db') })).rejects.toMatchObject({ code: 'path_outside_roots' });
    await expect(openPart({ path: join(outside, 'link.db'), roots: [outside] })).rejects.toMatchObject({ code: 'path_outside_roots' });
    await rm(outside, { recursive: true });
  });

  test('damage is found in the copy, which is kept', async () => {
    makeBank(database, { paddingRows: 2_000, journalMode: 'delete' });
    const bytes = await readFile(database);
    bytes.fill(0x5a, 300_000, 340_000);
    await writeFile(database, bytes);
    const part = await openPart();
    await part.takeMoment(never);
    expect(pagesOf(await readFile(await restored(part))).equals(pagesOf(bytes))).toBe(true);
    expect(((await part.facts()) as { findings: string[] }).findings.length).toBeGreaterThan(0);
  });

  test('an abort ends the copy, its process and its folder', async () => {
    makeBank(database, { paddingRows: 50_000 });
    const ended = new AbortController();
    const part = await openPart({ signal: ended.signal });
    await part.takeMoment(never);
    const reading = restored(part);
    ended.abort(new Error('enough'));
    await expect(reading).rejects.toThrow('enough');
    await part.close();
    expect(children()).toBe('0');
    expect(existsSync(join(folder, 'scratch'))).toBe(false);
  });

  test('a process that is killed is an error, never a shorter copy', async () => {
    makeBank(database, { paddingRows: 50_000 });
    const part = await openPart();
    await part.takeMoment(never);
    const reading = restored(part);
    const [pid = ''] = execFileSync('sh', ['-c', `pgrep -P ${process.pid} -f '[c]opy-process'`], { encoding: 'utf8' }).split('\n');
    process.kill(Number(pid), 'SIGKILL');
    await expect(reading).rejects.toMatchObject({ code: 'sqlite_failed', message: expect.stringContaining('SIGKILL') });
  });

  test('a database that somebody locks for good is busy', async () => {
    makeBank(database, { journalMode: 'delete' });
    const owner = new DatabaseSync(database);
    owner.exec('BEGIN EXCLUSIVE');
    await expect((await openPart({ patienceMs: 800 })).takeMoment(never)).rejects.toMatchObject({ code: 'sqlite_busy' });
    owner.close();
  });
});
