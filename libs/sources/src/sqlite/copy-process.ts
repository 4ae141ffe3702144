import { backup, DatabaseSync } from 'node:sqlite';
import { setTimeout as delay } from 'node:timers/promises';
import type { CopyCheck, CopyEvent, CopyFacts, CopyFailure, CopyRequest } from './copy-messages.ts';

/**
 * A process of its own that copies one database by SQLite's online backup and ends. It is a program, not a module: run by copy-database.ts.
 */

/** 4 MiB of usual pages: without WAL nobody can commit while so much is copied. */
const pagesPerStep = 1024;
/** Between two tries while somebody writes. */
const pauseMs = 50;
/** Findings of a check; the first ones say what is wrong. */
const maxFindings = 20;

async function copy(request: CopyRequest): Promise<void> {
  const giveUpAtMs = performance.now() + request.patienceMs;
  const from = new DatabaseSync(request.from, { readOnly: true, timeout: request.busyMs });
  const journalMode = await patiently(giveUpAtMs, async () => textOf(from, 'PRAGMA journal_mode', 'journal_mode'));
  if (request.refusesDamage) {
    const [damage] = findingsIn(from, 'quick');
    if (damage !== undefined) throw new Damaged(damage);
  }
  // With WAL a reader's transaction is a moment that holds nobody up. Without, whoever commits waits for it.
  const isHeld = journalMode === 'wal' || request.blocksWriters;
  if (isHeld) {
    await patiently(giveUpAtMs, async () => {
      from.exec('BEGIN');
      try {
        from.prepare('SELECT count(*) FROM sqlite_schema').get();
      } catch (error) {
        from.exec('ROLLBACK');
        throw error;
      }
    });
    send({ kind: 'moment' });
    await patiently(giveUpAtMs, () => backup(from, request.to, { rate: pagesPerStep }));
  } else {
    await patiently(giveUpAtMs, () => backup(from, request.to, { rate: pagesPerStep, progress: () => assertInTime(giveUpAtMs) }));
    send({ kind: 'moment' });
  }
  from.close();
  const { facts, findings } = look(request.to, request.check, journalMode);
  send({ kind: 'copied', facts, findings });
}

/** Again while it is only busy, until the time is over. */
async function patiently<T>(giveUpAtMs: number, work: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await work();
    } catch (error) {
      if (reasonOf(error) !== 'busy' || performance.now() > giveUpAtMs) throw error;
      await delay(pauseMs);
    }
  }
}

class OutOfTime extends Error {}

/** A database that is written to begins the copy anew each time. */
function assertInTime(giveUpAtMs: number): void {
  if (performance.now() > giveUpAtMs) throw new OutOfTime('it was written to without a pause');
}

function look(path: string, check: CopyCheck, journalMode: string): { facts: CopyFacts; findings: string[] } {
  const db = new DatabaseSync(path, { readOnly: true });
  const facts = {
    sqliteVersion: textOf(db, 'SELECT sqlite_version() AS version', 'version'),
    journalMode,
    pageSizeBytes: numberOf(db, 'page_size'),
    pageCount: numberOf(db, 'page_count'),
    userVersion: numberOf(db, 'user_version'),
    applicationId: numberOf(db, 'application_id'),
  };
  const findings = check === 'none' ? [] : findingsIn(db, check);
  db.close();
  return { facts, findings };
}

function findingsIn(db: DatabaseSync, check: 'quick' | 'full'): string[] {
  const pragma = check === 'full' ? 'integrity_check' : 'quick_check';
  const rows = db.prepare(`PRAGMA ${pragma}(${maxFindings})`).all();
  return rows.map((row) => String(row[pragma])).filter((text) => text !== 'ok');
}

class Damaged extends Error {}

function textOf(db: DatabaseSync, sql: string, column: string): string {
  return String(db.prepare(sql).get()?.[column]);
}

function numberOf(db: DatabaseSync, pragma: string): number {
  return Number(db.prepare(`PRAGMA ${pragma}`).get()?.[pragma]);
}

/** By SQLite's result codes, https://sqlite.org/rescode.html; the lower byte is the kind. */
const failures = new Map<number, CopyFailure>([
  [3, 'denied'],
  [5, 'busy'],
  [6, 'busy'],
  [8, 'denied'],
  [11, 'not_a_database'],
  [13, 'disk_full'],
  [14, 'denied'],
  [23, 'denied'],
  [26, 'not_a_database'],
]);
/** A transaction of a process that died is still to be rolled back, for which we have no right. */
const readonlyRollback = 776;

function reasonOf(error: unknown): CopyFailure {
  if (error instanceof OutOfTime) return 'busy';
  if (error instanceof Damaged) return 'not_a_database';
  const code: unknown = error instanceof Error ? Reflect.get(error, 'errcode') : undefined;
  if (code === readonlyRollback) return 'hot_journal';
  // The backup of Node says no more than "not an error" of a step that found a lock.
  if (error instanceof Error && error.message === 'not an error') return 'busy';
  return (typeof code === 'number' ? failures.get(code & 0xff) : undefined) ?? 'other';
}

function send(event: CopyEvent): void {
  process.send?.(event);
}

// Whoever asked has died: nobody needs the copy.
process.on('disconnect', () => process.exit(1));
process.once('message', (request) => {
  // oxlint-disable-next-line no-unsafe-type-assertion -- only copy-database.ts starts this program
  copy(request as CopyRequest)
    .catch((error: unknown) => {
      const message = error instanceof Error ? error.message : String(error);
      send({ kind: 'failed', reason: reasonOf(error), message });
    })
    .finally(() => process.disconnect?.());
});
