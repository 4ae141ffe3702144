import { chmod, mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import type { BackupFiles } from '../logical/restore/backup-files.ts';
import { missingPostgres, testMajors } from '../testing/test-postgres.ts';
import { runLogicalRestoreTest } from './logical-restore-test.ts';

const inspection = { exactRowLimit: 1_000_000, statementTimeoutMs: 30_000, totalTimeoutMs: 60_000, assertions: [] };

interface MadeBackup {
  readonly major: number;
  readonly createOptions?: string;
  readonly globals?: string;
  readonly preData?: string;
  readonly postData?: string;
}

/** A backup of a database with one table of three rows, and what a server that is not here may have put into it. */
function backupOf({
  major,
  createOptions = "TEMPLATE = template0 ENCODING = 'UTF8'",
  globals = '',
  preData = '',
  postData = '',
}: MadeBackup) {
  const table = {
    schema: 'public',
    name: 'kept',
    file: 'kept.sql',
    columns: ['id'],
    ancestors: [],
    headerBytes: 0,
    rows: 3,
    isPartial: false,
  };
  const database = {
    name: 'made',
    folder: 'made',
    encoding: 'UTF8',
    createOptions,
    transferEncoding: 'UTF8',
    snapshot: { lsn: '0/0', takenAt: '2026-01-01T00:00:00Z' },
    tables: [table],
    sequences: [],
    largeObjectCount: 0,
  };
  const manifest = {
    format: 'holdfast-postgresql-logical',
    version: 1,
    server: { place: 'a@b:5432', version: `${major}.1`, major },
    tools: { major },
    databases: [database],
  };
  const texts = new Map([
    ['/manifest.json', JSON.stringify(manifest)],
    ['/globals.sql', globals],
    ['/databases/made/pre-data.sql', `CREATE TABLE public.kept (id int);\n${preData}`],
    ['/databases/made/data/kept.sql', '1\n2\n3\n\\.\n'],
    ['/databases/made/large-objects.sql', ''],
    ['/databases/made/sequences.sql', ''],
    ['/databases/made/post-data.sql', postData],
  ]);
  const files: BackupFiles = {
    list: () => Promise.resolve([{ name: 'kept.sql', sizeBytes: 9 }]),
    async *read(path) {
      yield await Promise.resolve(Buffer.from(texts.get(path) ?? ''));
    },
  };
  return files;
}

describe.each(testMajors)('a restore test of a logical backup by PostgreSQL %i', (major) => {
  const missing = missingPostgres(major);
  const name = missing ?? 'it';
  let scratchRoot: string;
  const run = (made: Partial<MadeBackup>, signal = new AbortController().signal, onProgress = (): void => {}) =>
    runLogicalRestoreTest({
      files: backupOf({ major, ...made }),
      scratchRoot,
      toolPlaces: {},
      connectionCount: 2,
      inspection,
      onProgress,
      signal,
    });

  beforeAll(async () => {
    scratchRoot = await mkdtemp(join(tmpdir(), 'holdfast-logical-test-'));
    await chmod(scratchRoot, 0o711);
  });
  afterAll(() => rm(scratchRoot, { recursive: true }));
  /** Only a copy of the server's programs may be kept for the next. */
  afterEach(async () => {
    expect((await readdir(scratchRoot)).filter((each) => !each.startsWith('postgresql-'))).toEqual([]);
  });

  test.skipIf(missing !== null)(`${name} counts what came back`, async () => {
    const { inspection: found, laidBytes } = await run({ postData: 'CREATE INDEX ON public.kept (id);' });
    expect(found).toMatchObject({ findings: [], rowCount: 3, notes: [] });
    expect(found.databases.map((database) => database.name)).toEqual(['made', 'postgres', 'template1']);
    expect(laidBytes).toBeGreaterThan(0);
  });

  test.skipIf(missing !== null)(`${name} says what does not run, and looks at the rest`, async () => {
    const { inspection: found } = await run({ postData: 'ALTER TABLE public.kept ADD CHECK (id > 1);' });
    expect(found.findings).toEqual([
      {
        kind: 'database_not_restored',
        database: 'made',
        relation: null,
        detail: expect.stringContaining('is violated by some row') as string,
      },
    ]);
    expect(found.rowCount).toBe(3);
  });

  test.skipIf(missing !== null)(`${name} does without the locale and the places of the other machine`, async () => {
    const { inspection: found } = await run({
      createOptions: "TEMPLATE = template0 ENCODING = 'UTF8' LC_COLLATE = 'xx_XX.utf8' LC_CTYPE = 'xx_XX.utf8'",
      globals: "CREATE ROLE app;\nCREATE TABLESPACE fast OWNER app LOCATION '/mnt/it''s/fast';\n",
      preData: 'CREATE TABLE public.fast (id int) TABLESPACE fast; ALTER TABLE public.fast OWNER TO app;',
    });
    expect(found).toMatchObject({ findings: [], notes: [expect.stringContaining('made: its locale is not installed')] });
  });

  test.skipIf(missing !== null)(`${name} asks for an extension that is not installed`, async () => {
    await expect(run({ preData: 'CREATE EXTENSION no_such_extension;' })).rejects.toMatchObject({
      code: 'postgresql_tool_missing',
      message: 'the database made needs no_such_extension, which the server at the worker does not have',
    });
  });

  test.skipIf(missing !== null)(`${name} leaves nothing when it is called off`, async () => {
    const calledOff = new AbortController();
    const running = run({ preData: 'SELECT pg_sleep(60);' }, calledOff.signal, () =>
      setTimeout(() => calledOff.abort(new Error('called off')), 200),
    );
    await expect(running).rejects.toThrow('called off');
  });
});

test.skipIf(missingPostgres(18) !== null)('a newer server does where that of the backup is not installed, and that is said', async () => {
  const scratchRoot = await mkdtemp(join(tmpdir(), 'holdfast-logical-test-'));
  await chmod(scratchRoot, 0o711);
  const signal = new AbortController().signal;
  const options = { scratchRoot, toolPlaces: {}, connectionCount: 1, inspection, onProgress: () => {}, signal };
  const { serverVersion, inspection: found } = await runLogicalRestoreTest({ ...options, files: backupOf({ major: 17 }) });
  expect(serverVersion).toMatch(/^18/u);
  expect(found.notes).toEqual([expect.stringMatching(/^restored into PostgreSQL 18.*: 17, where it comes from, is not installed/u)]);
  await expect(runLogicalRestoreTest({ ...options, files: backupOf({ major: 19 }) })).rejects.toMatchObject({
    code: 'postgresql_tool_missing',
  });
  await rm(scratchRoot, { recursive: true });
});
