import { HoldfastError } from '@holdfast/errors/holdfast-error';
import type { ReplicationSlot } from '../generated/client.ts';
import { jsonInput, type JsonObject } from './json-object.ts';
import type { Transaction } from './open-database.ts';
import { readPage, type Page, type PageRequest } from './page.ts';
import { inScope, type Scope } from './scope.ts';
import { seal, unseal, type MasterKey } from './sealed-secret.ts';

/** A slot as it may be shown: without its password. */
export type ReplicationSlotRow = Omit<ReplicationSlot, 'sealedPassword'>;

const omit = { sealedPassword: true } as const;

/** What has to be known of a slot to find it again, whatever becomes of its config. */
export interface NewSlot {
  readonly backupConfigId: string;
  /** The config whose connection and password these are. */
  readonly baseConfigId: string;
  readonly name: string;
  /** What sources' serverPlace says of the connection. */
  readonly server: string;
  readonly systemIdentifier: string;
  /** Without the password. */
  readonly connection: JsonObject;
  /** What sources' connectionPlace says of the connection: the server and account that the password is for. */
  readonly place: string;
  readonly password: string | null;
}

export interface ClaimedSlot {
  readonly id: string;
  /** It was not known before. */
  readonly isNew: boolean;
  /** The slot was there, and ours, at some time. */
  readonly isMade: boolean;
  /** The config made one of this name in this cluster, but at another address. */
  readonly isMadeElsewhere: boolean;
}

/**
 * Notes that a config has this slot, before it is made, and how its server is reached now. Waits for a drop that is under way.
 * Code: conflict, when another config has a slot of that name in the cluster; it is not told which, for it may be of another entity.
 */
export async function claimReplicationSlot(tx: Transaction, slot: NewSlot, masterKey: MasterKey): Promise<ClaimedSlot> {
  const { backupConfigId, server, name, systemIdentifier } = slot;
  await tx.$executeRaw`
    SELECT 1 FROM "replication_slots" WHERE "backupConfigId" = ${backupConfigId} AND "server" = ${server} AND "name" = ${name} FOR UPDATE`;
  const ofCluster = await tx.replicationSlot.findMany({ where: { systemIdentifier, name }, omit });
  if (ofCluster.some((other) => other.backupConfigId !== backupConfigId)) {
    throw new HoldfastError('conflict', `another config has the replication slot ${name} of this cluster, or it is still to be dropped`, {
      hint: 'give the config another slotName',
    });
  }
  const columns = await columnsOf(tx, slot, masterKey);
  const [created] = await tx.replicationSlot.createManyAndReturn({ data: [columns], skipDuplicates: true, omit });
  const isMadeElsewhere = ofCluster.some((other) => other.server !== server && other.madeAt !== null);
  if (created !== undefined) return { id: created.id, isNew: true, isMade: false, isMadeElsewhere };
  const known = await tx.replicationSlot.findUniqueOrThrow({ where: keyOf(slot), omit });
  // Made in another cluster, which this server has not any more.
  const isOther = known.systemIdentifier !== systemIdentifier;
  const data = { ...columns, unwantedSince: null, ...(isOther ? { madeAt: null } : {}) };
  await tx.replicationSlot.update({ where: { id: known.id }, data, omit });
  return { id: known.id, isNew: false, isMade: known.madeAt !== null && !isOther, isMadeElsewhere };
}

/** The slot is there and ours. A row that was taken away meanwhile, for the config has changed, comes back: the slot is to be dropped. */
export async function recordSlotMade(tx: Transaction, slot: NewSlot, masterKey: MasterKey, now: Date): Promise<void> {
  const create = { ...(await columnsOf(tx, slot, masterKey)), madeAt: now };
  await tx.replicationSlot.upsert({ where: keyOf(slot), update: { madeAt: now }, create, omit });
}

/** There is no such slot any more. May be repeated. */
export async function releaseReplicationSlot(rows: Transaction, id: string): Promise<void> {
  await rows.replicationSlot.deleteMany({ where: { id } });
}

export type ListedSlot = ReplicationSlotRow & { readonly backupConfig: { readonly businessEntityId: string } };

/** Those of deleted configs too, until they are dropped. */
export async function listReplicationSlots(
  rows: Transaction,
  scope: Scope,
  filter: { readonly entityId?: string | undefined },
  page: PageRequest = {},
): Promise<Page<ListedSlot>> {
  const include = { backupConfig: { select: { businessEntityId: true } } } as const;
  const where = { backupConfig: inScope(scope, filter.entityId) };
  return readPage(page, where, (query) => rows.replicationSlot.findMany({ ...query, omit, include }));
}

function keyOf({ backupConfigId, server, name }: NewSlot) {
  return { backupConfigId_server_name: { backupConfigId, server, name } };
}

async function columnsOf(tx: Transaction, slot: NewSlot, masterKey: MasterKey) {
  const { backupConfigId, baseConfigId, name, server, systemIdentifier, connection, place, password } = slot;
  const query = { where: { id: backupConfigId }, select: { businessEntityId: true } } as const;
  const { businessEntityId } = await tx.backupConfig.findUniqueOrThrow(query);
  const sealedPassword = password === null ? null : seal(masterKey, secretContext(businessEntityId, place), password);
  return { backupConfigId, baseConfigId, name, server, systemIdentifier, connection: jsonInput(connection), sealedPassword };
}

/** The password that was noted with the slot, for the place of its connection. Code: secret_unreadable. */
export async function slotPassword(rows: Transaction, id: string, place: string, masterKey: MasterKey): Promise<string | null> {
  const { sealedPassword, backupConfig } = await rows.replicationSlot.findUniqueOrThrow({
    where: { id },
    select: { sealedPassword: true, backupConfig: { select: { businessEntityId: true } } },
  });
  return sealedPassword === null ? null : unseal(masterKey, secretContext(backupConfig.businessEntityId, place), sealedPassword);
}

function secretContext(businessEntityId: string, place: string): string {
  return `replication_slots.sealedPassword:${businessEntityId}:${place}`;
}
