import { deleteBackupConfig } from '@holdfast/database/backup-configs';
import { readEvents, type LoggedEvent } from '@holdfast/database/events';
import { inTransaction } from '@holdfast/database/in-transaction';
import type { ReplicationSlotRow } from '@holdfast/database/replication-slots';
import { systemClock } from '@holdfast/engine/clock';
import { connectDatabase, connectWire } from '@holdfast/sources/postgresql/connect';
import { connectionPlace, type ConnectionOptions } from '@holdfast/sources/postgresql/connection-options';
import { parseAllowedHosts } from '@holdfast/policy/allowed-hosts';
import type { TestPostgres } from '@holdfast/sources/postgresql/testing/test-postgres';
import { identifySystem } from '@holdfast/sources/postgresql/wal/system-identity';
import { ensureSlot, ownSlotName } from '../postgresql/wal-slot.ts';
import type { WorkerFixture } from './worker-fixture.ts';

/** A WAL config, its base, and the slot that it keeps at a server, without the runs in which that is made. */
export interface SlotKeeper {
  readonly baseConfigId: string;
  readonly walConfigId: string;
  readonly slotName: string;
  /** With the password. */
  readonly connection: ConnectionOptions;
  /** As a run does it, by another name, or at the server that another keeper's base has. */
  ensure(options?: { name?: string; at?: SlotKeeper }): Promise<void>;
  /** Its slots at the server, whatever they are called. */
  slotsThere(): Promise<string[]>;
  rows(): Promise<ReplicationSlotRow[]>;
  /** The events that tell of its slots, the oldest first. */
  slotEvents(): Promise<LoggedEvent[]>;
  deleteConfig(): Promise<void>;
}

interface SlotKeeperOptions {
  readonly wal?: { readonly slotName?: string };
  readonly role?: { readonly user: string; readonly password: string };
  /** Another name of the server's. */
  readonly host?: string;
}

/** What a worker needs to be allowed to reach servers of tests. */
export const localServers = { databaseHosts: parseAllowedHosts('127.0.0.1,localhost') };

export async function openSlotKeeper(
  fixture: WorkerFixture,
  server: TestPostgres,
  { wal = {}, role = server, host = server.host }: SlotKeeperOptions = {},
): Promise<SlotKeeper> {
  const { db } = fixture.database;
  const connection = { host, port: server.port, user: role.user, database: 'postgres', tls: { mode: 'disable' as const } };
  const { password } = role;
  const baseConfigId = await fixture.createConfig({
    name: 'base',
    backupType: 'database_full',
    source: { type: 'postgresql', method: 'physical', connection },
    sourcePassword: { place: connectionPlace(connection), password },
  });
  const source = { type: 'postgresql_wal', method: 'wal', baseConfigId, ...wal };
  const walConfigId = await fixture.createConfig({ name: 'wal', backupType: 'database_incremental', source });
  const slotName = wal.slotName ?? ownSlotName(walConfigId);
  return {
    baseConfigId,
    walConfigId,
    slotName,
    connection: { ...connection, password },
    async ensure({ name = slotName, at } = {}) {
      const reached = at?.connection ?? { ...connection, password };
      await using wire = await connectWire(reached, { mode: 'replication' });
      await using sql = await connectDatabase(reached);
      const { systemIdentifier } = await identifySystem(wire);
      const place = { configId: walConfigId, baseConfigId, connection: reached, systemIdentifier, name };
      await ensureSlot({ database: db, masterKey: fixture.config.masterKey, clock: systemClock }, { sql, wire }, place);
    },
    async slotsThere() {
      return (await server.query('SELECT slot_name FROM pg_replication_slots ORDER BY 1')).map(({ slot_name: name }) => name ?? '');
    },
    rows: () => db.client.replicationSlot.findMany({ where: { backupConfigId: walConfigId }, orderBy: { createdAt: 'asc' } }),
    async slotEvents() {
      const events = await readEvents(db.client, { after: 0n, entityIds: '*', subjectId: walConfigId });
      return events.filter(({ type }) => type.startsWith('config.slot_'));
    },
    deleteConfig: () => inTransaction(db, (tx) => deleteBackupConfig(tx, '*', walConfigId, new Date())),
  };
}
