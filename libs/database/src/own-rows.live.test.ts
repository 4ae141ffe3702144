import { randomUUID } from 'node:crypto';
import pg from 'pg';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { latestSequence } from './events.ts';
import { assertMigrated, migrate, readMigrations } from './migrate.ts';
import { openDatabase } from './open-database.ts';
import { loadOwnRows, type OwnRowsLoading } from './own-rows-loading.ts';
import { openOwnRowsReading, type OwnRowsReading } from './own-rows-reading.ts';
import { claimRun } from './runs.ts';
import { sampleBackup, sampleCompletedBackup, sampleConfig } from './testing/sample-rows.ts';
import { createEmptyDatabase, createTestDatabase, type TestDatabase } from './testing/test-database.ts';

let database: TestDatabase;
let jobId: string;
beforeAll(async () => {
  database = await createTestDatabase();
  const config = await sampleConfig(database.db);
  await sampleCompletedBackup(database.db, { backupConfigId: config.id });
  const job = await sampleBackup(database.db, { backupConfigId: config.id });
  jobId = job.id;
  await claimRun(database.db, 'backup', jobId, { workerId: 'somebody' });
  // What JSON of other programs would lose: a number beyond 2^53, microseconds of none, text with every kind of sign.
  await database.db.client.backupJob.update({
    where: { id: jobId },
    data: {
      fileSize: 9_007_199_254_740_993n,
      metadata: { text: 'line\nnext "quoted" \\ ä 𝄞 \u001f', nested: { list: [1.5, null, true] } },
    },
  });
  await database.db.client.workerProcess.create({
    data: { id: 'gone', hostname: 'h', pid: 1, startedAt: new Date(), heartbeatAt: new Date(), running: [] },
  });
});
afterAll(() => database.drop());

const loadingOf = (reading: Pick<OwnRowsReading, 'facts' | 'rows'>, id: string = randomUUID()): OwnRowsLoading => ({
  facts: reading.facts,
  rows: (table) => reading.rows(table),
  rescue: { id, snapshotId: 'f'.repeat(64), repositoryId: 'e'.repeat(64) },
});

async function contentOf(url: string): Promise<Record<string, string[]>> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    const { rows: tables } = await client.query<{ name: string }>(
      `SELECT tablename::text AS name FROM pg_tables WHERE schemaname = 'public' AND tablename <> '_prisma_migrations' ORDER BY 1`,
    );
    const content: Record<string, string[]> = {};
    for (const { name } of tables) {
      const { rows } = await client.query<{ line: string }>(`SELECT t::text AS line FROM "${name}" t ORDER BY 1`);
      content[name] = rows.map(({ line }) => line);
    }
    return content;
  } finally {
    await client.end();
  }
}

test('rows of one moment come back as they were, numbered on, into an empty database, once', async () => {
  const { url, drop } = await createEmptyDatabase();
  try {
    await using reading = await openOwnRowsReading(database.url);
    const atMoment = await contentOf(database.url);
    const lastEvent = await latestSequence(database.db.client);
    // Nothing of this is in the moment.
    await sampleConfig(database.db);

    const loading = loadingOf(reading);
    await loadOwnRows(url, loading);
    const loaded = await contentOf(url);
    expect(loaded['events']?.at(-1)).toContain('service.rescued');
    const { events, worker_processes: workers, ...others } = loaded;
    expect(workers).toEqual([]);
    expect(events?.slice(0, -1)).toEqual(atMoment['events']);
    for (const [table, lines] of Object.entries(others)) expect(lines, table).toEqual(atMoment[table]);
    expect(others['backup_jobs']?.join()).toContain('9007199254740993');

    const db = await openDatabase({ url, applicationName: 'test' });
    try {
      await assertMigrated(db);
      expect(await latestSequence(db.client)).toBe(lastEvent + 1n);
    } finally {
      await db.close();
    }
    // The same rescue finds its rows; another one finds somebody's.
    await loadOwnRows(url, loading);
    expect(await contentOf(url)).toEqual(loaded);
    await expect(loadOwnRows(url, loadingOf(reading))).rejects.toMatchObject({
      code: 'conflict',
      message: expect.stringContaining('backup_jobs'),
    });
  } finally {
    await drop();
  }
});

test('one that fails in the middle leaves an empty database, and is done by the next try', async () => {
  const { url, drop } = await createEmptyDatabase();
  try {
    await using reading = await openOwnRowsReading(database.url);
    const loading = loadingOf(reading);
    const cut = async function* (table: string) {
      for await (const piece of reading.rows(table)) yield table === 'events' ? piece.subarray(0, piece.length - 2) : piece;
    };
    await expect(loadOwnRows(url, { ...loading, rows: cut })).rejects.toMatchObject({ code: 'repository_damaged' });
    expect(Object.values(await contentOf(url)).flat()).toEqual([]);
    const short = async function* (table: string) {
      if (table !== 'events') yield* reading.rows(table);
    };
    await expect(loadOwnRows(url, { ...loading, rows: short })).rejects.toMatchObject({
      code: 'repository_damaged',
      message: expect.stringMatching(/^the backup says \d+ rows of events and has 0$/u),
    });
    await loadOwnRows(url, loading);
    expect((await contentOf(url))['backup_jobs']).toHaveLength(2);
  } finally {
    await drop();
  }
});

test('a backup of an older version gets its tables first and is brought up to this one; of a newer one it is refused', async () => {
  const older = await createEmptyDatabase();
  const { url, drop } = await createEmptyDatabase();
  const [first] = await readMigrations();
  try {
    if (first === undefined) throw new Error('there are no migrations');
    const client = new pg.Client({ connectionString: older.url });
    await client.connect();
    await migrate(older.url, { only: new Set([first.name]) });
    await client.query(`INSERT INTO "business_entities" ("id", "name", "updatedAt") VALUES ('old', 'of an older version', now())`);
    await client.end();
    await using reading = await openOwnRowsReading(older.url);
    expect(reading.facts.migrations).toEqual([{ name: first.name, checksum: first.checksum }]);
    await loadOwnRows(url, loadingOf(reading));
    expect((await contentOf(url))['business_entities']?.join()).toContain('of an older version');

    const migrations = [...reading.facts.migrations, { name: '29990101000000_unknown', checksum: 'f'.repeat(64) }];
    await expect(loadOwnRows(url, loadingOf({ ...reading, facts: { ...reading.facts, migrations } }))).rejects.toMatchObject({
      code: 'database_schema_mismatch',
      message: expect.stringContaining('29990101000000_unknown'),
    });
  } finally {
    await drop();
    await older.drop();
  }
});

test('a database without our migrations is no source, and an aborted reading ends', async () => {
  const { url, drop } = await createEmptyDatabase();
  try {
    await expect(openOwnRowsReading(url)).rejects.toMatchObject({ code: 'database_schema_mismatch' });
    const stop = new AbortController();
    await using reading = await openOwnRowsReading(database.url, stop.signal);
    stop.abort(new Error('asked to stop'));
    await expect(reading.rows('events').next()).rejects.toThrow('asked to stop');
  } finally {
    await drop();
  }
});
