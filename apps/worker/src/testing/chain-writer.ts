import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { repositoryPassword } from '@holdfast/database/repositories';
import { claimRun, finishRun } from '@holdfast/database/runs';
import { archiveStream, type ArchiveStreamOptions } from '@holdfast/engine/archive-stream';
import { openOrCreateRepository } from '@holdfast/engine/create-repository';
import { systemClock } from '@holdfast/engine/clock';
import { encodeFacts, type BaseFacts, type RecoveryFacts, type WalFacts } from '@holdfast/policy/recovery-facts';
import { parseRecoveryTime } from '@holdfast/policy/recovery-time';
import { receiveBaseBackup } from '@holdfast/sources/postgresql/base-backup/base-backup';
import { connectWire } from '@holdfast/sources/postgresql/connect';
import type { TestPostgres } from '@holdfast/sources/postgresql/testing/test-postgres';
import { identifySystem } from '@holdfast/sources/postgresql/wal/system-identity';
import { parseTimelineHistory } from '@holdfast/sources/postgresql/wal/timeline-history';
import { WalReceiver } from '@holdfast/sources/postgresql/wal/wal-receiver';
import { WalScanner } from '@holdfast/sources/postgresql/wal/wal-scanner';
import { walSegmentName, walSegmentStart } from '@holdfast/sources/postgresql/wal-segment';
import { openLocalStorage } from '@holdfast/storage/local/local-storage';
import { baseChunkBytes, baseInspection } from '../postgresql/base-store.ts';
import type { WorkerFixture } from './worker-fixture.ts';

/** Makes the backups of a chain, rows and snapshots, without the processors that make them in production. */
export interface ChainWriter {
  readonly baseConfigId: string;
  readonly walConfigId: string;
  /** A full base backup, or one of blocks that builds on another; gives the job's id. */
  base(parentJobId?: string): Promise<string>;
  /** All WAL since the last run, or since the first base backup. */
  wal(): Promise<string>;
}

type Receive = ArchiveStreamOptions['receive'];
type Node = Parameters<Parameters<Receive>[0]['add']>[1];

const nsPerS = 1_000_000_000n;

export async function openChainWriter(fixture: WorkerFixture, server: TestPostgres): Promise<ChainWriter> {
  const { client } = fixture.database.db;
  const connection = { host: server.host, port: server.port, user: server.user };
  const baseConfigId = await fixture.createConfig({
    name: 'base',
    backupType: 'database_full',
    source: { type: 'postgresql', method: 'physical', connection },
  });
  const walConfigId = await fixture.createConfig({
    name: 'wal',
    backupType: 'database_incremental',
    source: { type: 'postgresql_wal', method: 'wal', baseConfigId },
  });
  const manifests = new Map<string, Buffer>();
  let position: { timeline: number; startLsn: bigint } | null = null;

  const connect = () =>
    connectWire({ ...connection, password: server.password, tls: { mode: 'disable' }, database: 'postgres' }, { mode: 'replication' });
  const about = async () => {
    await using wire = await connect();
    const { systemIdentifier, walSegmentSizeBytes } = await identifySystem(wire);
    return { systemIdentifier, majorVersion: server.major, segmentSizeBytes: walSegmentSizeBytes };
  };

  const store = async (configId: string, path: string, receive: Receive, factsOf: () => RecoveryFacts): Promise<string> => {
    const id = await fixture.submitBackup(configId, { enqueue: false });
    const { repositoryId } = await client.backupJob.findUniqueOrThrow({ where: { id } });
    const password = await repositoryPassword(client, repositoryId, fixture.config.masterKey);
    const storage = await openLocalStorage({ path: join(fixture.folder, 'storage', 'repository') });
    const who = { hostname: 'test', username: 'test', clock: systemClock };
    await using repository = await openOrCreateRepository({ ...who, storage, password });
    const tags = ['holdfast', `job:${id}`, `config:${configId}`];
    const { snapshotId, treeId } = await archiveStream({
      ...who,
      repository,
      paths: [path],
      tags,
      receive,
      fixedChunkBytes: baseChunkBytes,
      inspection: baseInspection,
    });
    const claim = await claimRun(fixture.database.db, 'backup', id, { workerId: 'test' });
    if (claim === null) throw new Error('the backup was not claimed');
    const metadata = { postgresql: encodeFacts(factsOf()) };
    const result = { snapshotId, filePath: snapshotId, fileSize: 0n, checksum: treeId, metadata };
    await finishRun(fixture.database.db, claim, { status: 'completed', result });
    return id;
  };

  return {
    baseConfigId,
    walConfigId,
    async base(parentJobId) {
      const identity = await about();
      let facts: BaseFacts | null = null;
      let manifest: Buffer = Buffer.alloc(0);
      const incrementalFrom = parentJobId === undefined ? undefined : manifests.get(parentJobId);
      const receive: Receive = async (sink) => {
        await using wire = await connect();
        let startLsn = 0n;
        for await (const entry of receiveBaseBackup(wire, { label: 'test', checkpoint: 'fast', incrementalFrom })) {
          if (entry.kind === 'start') startLsn = entry.startLsn;
          else if (entry.kind === 'directory') await sink.add(`/data/${entry.path}`, nodeOf('dir', entry.mode, entry.modifiedS));
          else if (entry.kind === 'file') {
            await sink.addFile(`/data/${entry.path}`, nodeOf('file', entry.mode, entry.modifiedS), entry.content);
          } else if (entry.kind === 'manifest') {
            manifest = entry.bytes;
            await sink.addFile('/data/backup_manifest', nodeOf('file', 0o600, 0), once(entry.bytes));
            await sink.settle();
          } else if (entry.kind === 'end') {
            const { endLsn, timeline, checkedPageCount, badPageCount } = entry;
            const size = identity.segmentSizeBytes;
            for (let lsn = walSegmentStart(startLsn, size); lsn < endLsn; lsn += BigInt(size)) {
              const name = walSegmentName(timeline, lsn, size);
              const bytes = await readFile(join(server.dataDir, 'pg_wal', name));
              await sink.addFile(`/data/pg_wal/${name}`, nodeOf('file', 0o600, 0), once(bytes));
            }
            const [row] = await server.query<{ now: string }>(
              `SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS now`,
            );
            const endTime = parseRecoveryTime(row?.now ?? '');
            const pages = { checkedPageCount, badPageCount, badPages: [] };
            const places = { timeline, startLsn, endLsn, endTime, parentJobId: parentJobId ?? null };
            facts = { kind: 'base', ...identity, superuser: server.user, ...places, ...pages };
            position ??= { timeline, startLsn: endLsn };
          }
        }
      };
      const id = await store(baseConfigId, '/data', receive, () => {
        if (facts === null) throw new Error('no end of the base backup');
        return facts;
      });
      manifests.set(id, manifest);
      return id;
    },
    async wal() {
      const identity = await about();
      const pieces: WalFacts['pieces'][number][] = [];
      const histories: WalFacts['histories'][number][] = [];
      const restorePoints: WalFacts['restorePoints'][number][] = [];
      let scanner = new WalScanner();
      const receive: Receive = async (sink) => {
        if (position === null) throw new Error('WAL before any base backup');
        await using wire = await connect();
        const receiver = new WalReceiver(wire, { slot: null, ...position, nowMs: () => Date.now() });
        for await (const entry of receiver.entries()) {
          if (entry.kind === 'end') {
            position = { timeline: entry.timeline, startLsn: entry.lsn };
          } else if (entry.kind === 'history') {
            const parents = parseTimelineHistory(entry.bytes).map(({ timeline, endLsn }) => ({ timeline, switchLsn: endLsn }));
            histories.push({ timeline: entry.timeline, parents });
            await sink.addFile(`/wal/${entry.name}`, nodeOf('file', 0o600, 0), once(entry.bytes));
          } else {
            const { timeline, startLsn, endLsn, bytes } = entry;
            const last = pieces.at(-1);
            if (last?.timeline !== timeline) scanner = new WalScanner();
            scanner.scan(startLsn, bytes);
            const fromLsn = last?.timeline === timeline ? (pieces.pop() ?? last).fromLsn : startLsn;
            pieces.push({ timeline, fromLsn, toLsn: endLsn, lastCommit: scanner.lastCommitUs, complete: null });
            const whole = Buffer.alloc(identity.segmentSizeBytes);
            bytes.copy(whole);
            await sink.addFile(`/wal/${entry.name}`, nodeOf('file', 0o600, 0), once(whole));
          }
        }
        restorePoints.push(...scanner.restorePoints.map((point) => ({ ...point, timeline: position?.timeline ?? 1 })));
      };
      return await store(walConfigId, '/wal', receive, () => ({ kind: 'wal', ...identity, pieces, histories, restorePoints }));
    },
  };
}

function nodeOf(type: 'dir' | 'file', mode: number, modifiedS: number): Node {
  const timeNs = BigInt(modifiedS) * nsPerS;
  const owner = { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 };
  const times = { modifiedNs: timeNs, accessedNs: timeNs, changedNs: timeNs };
  return { type, mode, ...times, ...owner, inode: 0n, deviceId: 0n, linkCount: 1n };
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  if (bytes.length > 0) yield bytes;
}
