import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { putDatabase } from './put-database.ts';
import { openSqlitePart } from './sqlite-part.ts';
import { makeBank } from './testing/bank.ts';

const run = promisify(execFile);

/** A disk of 300 KiB, for which one has to be root. */
const missing = process.getuid?.() === 0 ? null : 'needs root, to mount a small disk';

describe.skipIf(missing !== null)(`a disk that is too small ${missing ?? ''}`, () => {
  let folder: string;
  let small: string;
  const signal = new AbortController().signal;

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'holdfast-full-'));
    small = join(folder, 'small');
    await mkdir(small);
    await run('mount', ['-t', 'tmpfs', '-o', 'size=300k', 'tmpfs', small]);
    makeBank(join(folder, 'bank.db'), { paddingRows: 3_000 });
  });
  afterEach(async () => {
    await run('umount', ['--lazy', small]);
    await rm(folder, { recursive: true, force: true });
  });

  test('for the copy ends the backup, and nothing of it is left', async () => {
    const limits = { blocksWriters: false, patienceMs: 3_000, check: 'quick' } as const;
    const scratch = join(small, 'scratch');
    const part = await openSqlitePart({ name: 'bank', path: join(folder, 'bank.db'), roots: [folder], scratch, ...limits, signal });
    await part.takeMoment(signal);
    await expect(part.source.openFile('/bank.db')).rejects.toMatchObject({ code: 'sqlite_disk_full' });
    await part.close();
    expect(await readdir(small)).toEqual([]);
  });

  test('for the database that is recovered leaves the old one', async () => {
    const to = join(small, 'live.db');
    const user = new DatabaseSync(to);
    user.exec('CREATE TABLE before (a)');
    const put = putDatabase({ from: join(folder, 'bank.db'), to, shownPath: to, overwrite: true, patienceMs: 3_000, signal });
    await expect(put).rejects.toMatchObject({ code: 'sqlite_disk_full' });
    expect(user.prepare('SELECT count(*) AS n FROM before').get()?.['n']).toBe(0);
    expect(user.prepare('PRAGMA integrity_check').get()?.['integrity_check']).toBe('ok');
    user.close();
  });
});
