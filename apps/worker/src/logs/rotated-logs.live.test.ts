import { spawn, type ChildProcessByStdio } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Readable, Writable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { inTransaction } from '@holdfast/database/in-transaction';
import { createRecoveryJob } from '@holdfast/database/recovery-jobs';
import { expect, test } from 'vitest';
import { backends, isFinal, openWorkerFixture, type WorkerFixture } from '../testing/worker-fixture.ts';
import { startWorkerProcess } from '../testing/worker-process.ts';

type Writer = ChildProcessByStdio<Writable, Readable, null>;

async function startWriter(folder: string): Promise<Writer> {
  const program = fileURLToPath(new URL('../testing/log-writer.ts', import.meta.url));
  const writer = spawn(process.execPath, [program, folder], { stdio: ['pipe', 'pipe', 'inherit'] });
  await once(writer.stdout, 'data');
  return writer;
}

/** How many lines it has written. */
async function endWriter(writer: Writer): Promise<number> {
  const said = once(writer.stdout, 'data');
  writer.stdin.end();
  const [text] = (await said) as [Buffer];
  return Number(text.toString());
}

/** The numbers of the lines of each file below a folder. */
async function linesBelow(folder: string): Promise<Map<string, number[]>> {
  const lines = new Map<string, number[]>();
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const path = join(entry.parentPath, entry.name);
    const text = await readFile(path, 'utf8');
    lines.set(
      path,
      [...text.matchAll(/ line (\d+) of a program/gu)].map(([, number]) => Number(number)),
    );
  }
  return lines;
}

async function recover(fixture: WorkerFixture, backupJobId: string, name: string, window: { since?: string; until?: string }) {
  const targetLocation = join(fixture.folder, 'target', name);
  const input = { backupJobId, recoveryType: 'selective', targetLocation, options: { window }, execute: true } as const;
  const { id } = await inTransaction(fixture.database.db, (tx) => createRecoveryJob(tx, '*', input));
  await fixture.queues.enqueueRun('recovery', id);
  const row = await fixture.eventually('recovery', id, isFinal, 60_000);
  const { metadata } = await fixture.database.db.client.recoveryJob.findUniqueOrThrow({ where: { id } });
  return { row, metadata, lines: row.errorCode === null ? await linesBelow(targetLocation) : new Map<string, number[]>() };
}

test('of a log that is written to and rotated while workers are killed, each line is recovered once', async () => {
  await using fixture = await openWorkerFixture(backends[0] ?? 'postgresql');
  const folder = join(fixture.folder, 'source', 'logs');
  await mkdir(folder);
  const source = { type: 'logs', globs: [`${folder}/*`] } as const;
  const configId = await fixture.createConfig({ backupType: 'logs', source });
  const writer = await startWriter(folder);
  let worker = await startWorkerProcess(fixture, {}, 'quick-worker.ts');
  const attempts: number[] = [];
  let middle = '';
  try {
    for (let nth = 0; nth < 14; nth++) {
      const job = await fixture.submitBackup(configId);
      if (nth === 4 || nth === 9) {
        // In the middle of it, each time a little later.
        await fixture.eventually('backup', job, ({ status }) => status !== 'queued');
        await delay(20 * nth);
        await worker.kill();
        worker = await startWorkerProcess(fixture, {}, 'quick-worker.ts');
      }
      const row = await fixture.eventually('backup', job, isFinal, 60_000);
      expect(row.status).toMatch(/^completed/u);
      attempts.push(row.attempt);
      if (nth === 7) middle = new Date().toISOString();
      await delay(400);
    }
    expect(attempts.filter((attempt) => attempt > 1)).not.toEqual([]);
    const lineCount = await endWriter(writer);
    const last = await fixture.submitBackup(configId);
    expect(await fixture.eventually('backup', last, isFinal, 60_000)).toMatchObject({ status: 'completed' });

    const whole = await recover(fixture, last, 'whole', { since: '2000-01-01T00:00:00Z' });
    expect(whole.row).toMatchObject({ status: 'completed' });
    expect(whole.lines.size).toBeGreaterThan(3);
    for (const numbers of whole.lines.values()) expect(numbers).toEqual(numbers.toSorted((a, b) => a - b));
    const all = [...whole.lines.values()].flat().toSorted((a, b) => a - b);
    expect(all).toHaveLength(lineCount);
    expect(all).toEqual(Array.from({ length: lineCount }, (_, nth) => nth + 1));

    // Two windows that meet share only the run that has what was written before and after their border.
    const before = await recover(fixture, last, 'before', { until: middle });
    const after = await recover(fixture, last, 'after', { since: middle });
    const both = new Set([...before.lines.values(), ...after.lines.values()].flat());
    expect(both.size).toBe(lineCount);
    const countOf = (lines: Map<string, number[]>): number => [...lines.values()].flat().length;
    expect(countOf(before.lines)).toBeLessThan(lineCount);
    expect(countOf(after.lines)).toBeLessThan(lineCount);

    const none = await recover(fixture, last, 'none', { since: '2100-01-01T00:00:00Z' });
    expect(none.row).toMatchObject({ status: 'failed', errorCode: 'path_not_found' });
  } finally {
    writer.stdin.end();
    await worker.kill();
  }
}, 180_000);
