import { createHash } from 'node:crypto';
import { chown, mkdir, readFile, readdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parseBackupManifest } from '../base-backup/backup-manifest.ts';
import { receiveBaseBackup } from '../base-backup/base-backup.ts';
import { connectWire } from '../connect.ts';
import { parseLsn } from '../lsn.ts';
import { missingPostgres } from '../testing/test-postgres.ts';
import { combineBackups, type CombineResult } from './combine.ts';
import { folderBackup, folderWriter } from './folder-backup.ts';
import { inspectServer } from './inspect-server.ts';
import type { RecoveryServer } from './recovery-server.ts';
import { serverAccount } from './server-account.ts';
import { askServer, startRecoverySource, type RecoverySource } from './testing/recovery-source.ts';

const testLimitMs = 180_000;

/** What a cluster goes through between two backups: each statement a kind of change that a chain must bring along. */
const changes = [
  `UPDATE big SET word = md5(word) WHERE n % 50 = 1; INSERT INTO log SELECT g, 'first' FROM generate_series(1, 5000) g; DROP TABLE dropped;
   CREATE TABLE made_later AS SELECT g AS n FROM generate_series(1, 1000) g; TRUNCATE emptied`,
  `DELETE FROM shrunk WHERE n > 2000; VACUUM (TRUNCATE) shrunk; UPDATE apart SET word = 'second' WHERE n < 300;
   INSERT INTO emptied SELECT g, 'again' FROM generate_series(1, 3000) g; CREATE INDEX ON big (word)`,
  `INSERT INTO shrunk SELECT g, 'grown' FROM generate_series(2001, 30000) g; DELETE FROM emptied; VACUUM (TRUNCATE) emptied;
   UPDATE big SET word = 'third' WHERE n BETWEEN 1000 AND 1200; CLUSTER apart USING apart_pkey; DROP TABLE made_later`,
];
const tables = ['big', 'log', 'shrunk', 'emptied', 'apart', 'same'];

describe('a chain of incremental base backups on PostgreSQL 18', () => {
  const missing = missingPostgres(18);
  const name = missing ?? 'is combined to one that';
  let source: RecoverySource;
  let chain: string[] = [];
  let combined: string;
  let result: CombineResult;

  beforeAll(async () => {
    if (missing !== null) return;
    source = await startRecoverySource(18, { summarize_wal: 'on', allow_in_place_tablespaces: 'on' });
    const space = join(source.root, 'space');
    await mkdir(space);
    if (process.getuid?.() === 0) await chown(space, serverAccount().uid, serverAccount().gid);
    await source.cluster.query(`CREATE TABLESPACE elsewhere LOCATION '${space}'`);
    await source.cluster.query("CREATE TABLESPACE inside LOCATION ''");
    await source.cluster.query(
      `CREATE TABLE big (n int PRIMARY KEY, word text); INSERT INTO big SELECT g, md5(g::text) FROM generate_series(1, 60000) g;
      CREATE TABLE shrunk (n int, word text); INSERT INTO shrunk SELECT g, md5(g::text) FROM generate_series(1, 20000) g;
      CREATE TABLE emptied (n int, word text); INSERT INTO emptied SELECT g, 'x' FROM generate_series(1, 5000) g;
      CREATE TABLE apart (n int PRIMARY KEY, word text) TABLESPACE elsewhere; INSERT INTO apart SELECT g, 'x' FROM generate_series(1, 9000) g;
      CREATE TABLE log (n int, word text); CREATE TABLE dropped AS SELECT 1 AS n;
      CREATE TABLE same TABLESPACE inside AS SELECT g AS n FROM generate_series(1, 10000) g`,
    );
    let manifest = await receive('full');
    chain = ['full'];
    for (const [index, sql] of changes.entries()) {
      for (const statement of sql.split(';')) await source.cluster.query(statement);
      const folder = `inc${index + 1}`;
      manifest = await receive(folder, manifest);
      chain.push(folder);
    }
    combined = join(source.root, 'combined');
    await mkdir(combined, { mode: 0o700 });
    const backups = chain.map((folder) => folderBackup(join(source.root, folder)));
    result = await combineBackups({ chain: backups, writer: folderWriter(combined), signal: new AbortController().signal });
    await source.archive();
  }, testLimitMs);
  afterAll(() => source?.[Symbol.asyncDispose]());

  /** As they come over the wire, and as a repository keeps them: files of tablespaces below pg_tblspc. */
  async function receive(folder: string, incrementalFrom?: Buffer): Promise<Buffer> {
    const { host, port, user, password } = source.cluster;
    const tls = { mode: 'disable' } as const;
    await using wire = await connectWire({ host, port, user, password, database: 'postgres', tls }, { mode: 'replication' });
    let manifest = Buffer.alloc(0);
    for await (const entry of receiveBaseBackup(wire, { label: folder, checkpoint: 'fast', incrementalFrom })) {
      if (entry.kind === 'directory') await mkdir(join(source.root, folder, entry.path), { recursive: true });
      if (entry.kind === 'file') {
        const path = join(source.root, folder, entry.path);
        await mkdir(dirname(path), { recursive: true });
        const pieces: Buffer[] = [];
        for await (const piece of entry.content) pieces.push(Buffer.from(piece));
        await writeFile(path, Buffer.concat(pieces));
      }
      if (entry.kind === 'manifest') manifest = Buffer.from(entry.bytes);
    }
    await writeFile(join(source.root, folder, 'backup_manifest'), manifest);
    return manifest;
  }

  const contentQuery = (table: string): string =>
    `SELECT count(*) AS count, md5(string_agg(t::text, ',' ORDER BY t::text)) AS sum FROM ${table} t`;

  async function expectSameAsSource(server: RecoveryServer): Promise<void> {
    for (const table of tables) {
      expect(await askServer(server, contentQuery(table)), table).toEqual(await source.cluster.query(contentQuery(table)));
    }
    const others = "SELECT to_regclass('dropped')::text AS dropped, to_regclass('made_later')::text AS later";
    expect(await askServer(server, others)).toEqual([{ dropped: null, later: null }]);
  }

  test.skipIf(missing !== null)(`${name} starts, has the source's content and nothing wrong`, async () => {
    expect(chain).toHaveLength(4);
    expect(result.rebuiltCount).toBeGreaterThan(500);
    const [row] = await source.cluster.query<{ lsn: string }>('SELECT pg_current_wal_insert_lsn() AS lsn');
    expect(parseLsn(row?.lsn ?? '') > 0n).toBe(true);
    await using server = await source.recover(combined, { kind: 'end_of_wal' });
    await expectSameAsSource(server);
    const seen = await inspectServer({
      connection: server.connection,
      isScratch: true,
      exactRowLimit: 1_000_000,
      assertions: [],
      statementTimeoutMs: 60_000,
      totalTimeoutMs: 120_000,
      signal: new AbortController().signal,
    });
    expect(seen.findings).toEqual([]);
    expect(seen.databases.every((database) => (database.checked?.indexCount ?? 0) > 100)).toBe(true);
  });

  test.skipIf(missing !== null)(`${name} has all files as its manifest says`, async () => {
    const manifest = parseBackupManifest(await readFile(join(combined, 'backup_manifest')));
    expect(manifest.version).toBe(2);
    for (const { path, sizeBytes, checksum } of manifest.files) {
      const bytes = await readFile(join(combined, path));
      expect([bytes.length, createHash('sha256').update(bytes).digest('hex')], path).toEqual([sizeBytes, checksum]);
    }
    const names = await readdir(combined, { recursive: true, withFileTypes: true });
    const files = names.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name).slice(combined.length + 1));
    expect(files.filter((path) => path.includes('INCREMENTAL.'))).toEqual([]);
    const unlisted = files.filter((path) => path !== 'backup_manifest' && !path.startsWith('pg_wal/'));
    expect(unlisted.toSorted()).toEqual(manifest.files.map(({ path }) => path).toSorted());
  });

  test.skipIf(missing !== null)(`${name} comes out the same two by two`, async () => {
    let full = join(source.root, 'full');
    for (const [index, folder] of chain.slice(1).entries()) {
      const next = join(source.root, `pair${index}`);
      await mkdir(next);
      const pair = [folderBackup(full), folderBackup(join(source.root, folder))];
      await combineBackups({ chain: pair, writer: folderWriter(next), signal: new AbortController().signal });
      full = next;
    }
    const [atOnce, pairwise] = [combined, full].map(async (folder) => parseBackupManifest(await readFile(join(folder, 'backup_manifest'))));
    const sums = async (manifest: typeof atOnce): Promise<unknown> => (await manifest)?.files.map(({ path, checksum }) => [path, checksum]);
    expect(await sums(pairwise)).toEqual(await sums(atOnce));
  });

  test.skipIf(missing !== null)(`${name} is refused with one of them left out`, async () => {
    const broken = join(source.root, 'broken');
    await mkdir(broken);
    const backups = ['full', 'inc2'].map((folder) => folderBackup(join(source.root, folder)));
    await expect(
      combineBackups({ chain: backups, writer: folderWriter(broken), signal: new AbortController().signal }),
    ).rejects.toMatchObject({
      code: 'postgresql_chain_broken',
    });
    expect(await readdir(broken)).toEqual([]);
  });
});
