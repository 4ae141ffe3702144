import type { Source, SourceEntry } from '../../source.ts';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { makeShop } from '../testing/sample-shop.ts';
import { missingPostgres, startTestPostgres, type TestPostgres } from '../testing/test-postgres.ts';
import { openLogicalSource, type LogicalSourceOptions } from './logical-source.ts';

const name = (entry: SourceEntry): string => (entry.kind === 'node' ? entry.node.name : `skipped ${entry.skipped.path}`);

const optionsFor = (server: TestPostgres, more: Partial<LogicalSourceOptions> = {}): LogicalSourceOptions => ({
  connection: {
    host: server.host,
    port: server.port,
    user: server.user,
    password: server.password,
    database: 'postgres',
    tls: { mode: 'disable' },
  },
  databases: ['shop'],
  connectionCount: 2,
  settings: { statementTimeoutMs: 0, lockTimeoutMs: 2_000 },
  toolPlaces: {},
  signal: new AbortController().signal,
  ...more,
});

describe.skipIf(missingPostgres(15) !== null)('a PostgreSQL 15 server as a source', () => {
  let server: TestPostgres;
  beforeAll(async () => {
    server = await startTestPostgres({ major: 15, tls: true });
    await makeShop(server, 'shop');
    await server.query('CREATE TABLE shop.large AS SELECT i, repeat(md5(i::text), 30) AS text FROM generate_series(1, 60000) i', {
      database: 'shop',
    });
  });
  afterAll(() => server?.[Symbol.asyncDispose]());

  /** A table of 58 MB, and the ends of rows that were chosen in it. */
  const readLarge = async (source: Source): Promise<{ bytes: Buffer; chosenEnds: readonly number[] }> => {
    const file = await source.openFile('/databases/shop/data/shop.large.sql', { recordKey: 99n });
    const parts: Buffer[] = [];
    for (let position = 0, read = -1; read !== 0; position += read) {
      const part = Buffer.alloc(100_000);
      read = await file.read(part, position);
      parts.push(part.subarray(0, read));
    }
    await file.close();
    return { bytes: Buffer.concat(parts), chosenEnds: file.chosenEnds ?? [] };
  };

  const sessions = () =>
    server.query("SELECT FROM pg_stat_activity WHERE application_name = 'holdfast' AND backend_type = 'client backend'");

  test('shows its databases, schemas and tables, in the order of their bytes', async () => {
    const source = await openLogicalSource(optionsFor(server, { excludeTables: ['shop.large'] }));
    expect((await source.readDirectory('/')).map(name)).toEqual(['README.txt', 'databases', 'globals.sql', 'manifest.json']);
    expect((await source.readDirectory('/databases')).map(name)).toEqual(['shop']);
    const files = ['data', 'database.sql', 'large-objects.sql', 'post-data.sql', 'pre-data.sql', 'sequences.sql'];
    expect((await source.readDirectory('/databases/shop')).map(name)).toEqual(files);
    const tables = (await source.readDirectory('/databases/shop/data')).map(name);
    expect(tables).toContain(`Odd%2E "Name%2F%25.tab%2Ele'$"x.sql`);
    expect(tables).toContain('shop.orders_2025.sql');
    expect(tables).not.toContain('shop.orders.sql');
    expect(tables).not.toContain('shop.large.sql');
    await expect(source.readDirectory('/databases/other')).rejects.toMatchObject({ code: 'path_not_found' });
    await expect(source.openFile('/databases/shop/data/shop.orders.sql')).rejects.toMatchObject({ code: 'path_not_found' });
    await source.close();
    await expect.poll(sessions).toHaveLength(0);
  });

  test('schemas: only theirs', async () => {
    const source = await openLogicalSource(optionsFor(server, { schemas: ['Odd. "Name/%'] }));
    expect((await source.readDirectory('/databases/shop/data')).map(name)).toEqual([`Odd%2E "Name%2F%25.tab%2Ele'$"x.sql`]);
    await source.close();
  });

  test('a backend that dies in the middle of a table: later again, and nothing stays open', async () => {
    const source = await openLogicalSource(optionsFor(server));
    await source.readDirectory('/databases/shop');
    const file = await source.openFile('/databases/shop/data/shop.large.sql');
    const buffer = new Uint8Array(100_000);
    let position = await file.read(buffer, 0);
    position += await file.read(buffer, position);
    await server.query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'holdfast'");
    const readOn = async (): Promise<void> => {
      for (let read = 1; read > 0; position += read) read = await file.read(buffer, position);
    };
    await expect(readOn()).rejects.toMatchObject({ code: 'postgresql_interrupted', retry: 'later' });
    await file.close();
    await source.close();
    await expect.poll(sessions).toHaveLength(0);
  });

  test('an abort ends what waits, within a second', async () => {
    const abort = new AbortController();
    const source = await openLogicalSource(optionsFor(server, { signal: abort.signal }));
    await source.readDirectory('/databases/shop');
    const file = await source.openFile('/databases/shop/data/shop.large.sql');
    await file.read(new Uint8Array(10), 0);
    const manifest = await source.openFile('/manifest.json');
    const waiting = manifest.read(new Uint8Array(10), 0);
    const startedAtMs = performance.now();
    abort.abort(new Error('stop'));
    await expect(waiting).rejects.toThrow('stop');
    await file.close();
    await source.close();
    expect(performance.now() - startedAtMs).toBeLessThan(1000);
    await expect.poll(sessions).toHaveLength(0);
  });

  test('what was prepared and is not read is given up, and can be prepared again', async () => {
    const source = await openLogicalSource(optionsFor(server));
    const first = new AbortController();
    source.prepare?.(first.signal);
    // The leader, two for rows, and the programs while they are at work.
    await expect.poll(async () => (await sessions()).length).toBeGreaterThanOrEqual(3);
    first.abort(new Error('the lock was not had'));
    await expect.poll(sessions).toHaveLength(0);
    source.prepare?.(new AbortController().signal);
    expect((await source.readDirectory('/databases/shop')).map(name)).toContain('pre-data.sql');
    for (const path of ['/globals.sql', '/databases/shop/pre-data.sql', '/databases/shop/post-data.sql']) {
      const file = await source.openFile(path);
      const buffer = new Uint8Array(100_000);
      const text = Buffer.from(buffer.subarray(0, await file.read(buffer, 0))).toString();
      expect(text, path).toContain('PostgreSQL database');
      await file.close();
    }
    await source.close();
    await expect.poll(sessions).toHaveLength(0);
  });

  test('a reader that stops early leaves no COPY behind', async () => {
    const source = await openLogicalSource(optionsFor(server, { connectionCount: 1 }));
    await source.readDirectory('/databases/shop');
    const large = await source.openFile('/databases/shop/data/shop.large.sql');
    await large.read(new Uint8Array(10), 0);
    await large.close();
    // The one connection is made anew.
    const other = await source.openFile('/databases/shop/data/shop.wide.sql');
    const buffer = new Uint8Array(1000);
    const text = Buffer.from(buffer.subarray(0, await other.read(buffer, 0))).toString();
    expect(text).toContain('COPY "shop"."wide" ("id", "text") FROM stdin;');
    await other.close();
    await source.close();
  });

  test('TLS: encrypted, and verified by the certificate that is given, by COPY and by pg_dump', async () => {
    const ca = server.certificatePem;
    const { connection } = optionsFor(server);
    const verified = { ...connection, tls: { mode: 'verify-full' as const, ca, serverName: 'localhost' } };
    const source = await openLogicalSource(optionsFor(server, { connection: verified }));
    await source.readDirectory('/databases/shop');
    const dump = await source.openFile('/databases/shop/pre-data.sql');
    const buffer = new Uint8Array(1000);
    expect(Buffer.from(buffer.subarray(0, await dump.read(buffer, 0))).toString()).toContain('PostgreSQL database dump');
    expect(dump.chosenEnds).toBeUndefined();
    await dump.close();
    const plain = await openLogicalSource(optionsFor(server));
    await plain.readDirectory('/databases/shop');
    const [encrypted, expected] = await Promise.all([source, plain].map(readLarge));
    expect(expected?.bytes.length).toBeGreaterThan(50_000_000);
    expect(encrypted?.bytes.equals(expected?.bytes ?? Buffer.alloc(0))).toBe(true);
    expect(encrypted?.chosenEnds).toEqual(expected?.chosenEnds);
    expect(expected?.chosenEnds.every((end) => expected.bytes[end - 1] === 10)).toBe(true);
    await plain.close();
    await source.close();
    for (const tls of [{ mode: 'verify-full' as const }, { mode: 'verify-full' as const, ca, serverName: 'elsewhere' }]) {
      await expect(openLogicalSource(optionsFor(server, { connection: { ...connection, tls } }))).rejects.toMatchObject({
        code: 'postgresql_tls_failed',
      });
    }
  });

  test('tools that are missing are told by the package that has them', async () => {
    const missing = openLogicalSource(optionsFor(server, { toolPlaces: { binFolders: ['/nowhere'] } }));
    await expect(missing).rejects.toMatchObject({
      code: 'postgresql_tool_missing',
      hint: expect.stringContaining('postgresql-client-15') as string,
    });
  });
});

describe.skipIf(missingPostgres(18) !== null)('a PostgreSQL 18 server as a source', () => {
  test('needs tools of 18, which are named when there are only older ones', async () => {
    await using server = await startTestPostgres({ major: 18 });
    const opening = openLogicalSource(
      optionsFor(server, { databases: undefined, toolPlaces: { binFolders: ['/usr/lib/postgresql/15/bin'] } }),
    );
    await expect(opening).rejects.toMatchObject({
      code: 'postgresql_tool_missing',
      hint: expect.stringContaining('postgresql-client-18') as string,
    });
  });
});
