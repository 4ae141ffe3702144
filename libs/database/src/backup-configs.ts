import type { BackupConfig, BackupType, Prisma, StorageLocation } from '../generated/client.ts';
import { findEntity } from './entities.ts';
import { appendEvent } from './events.ts';
import { isJsonObject, jsonInput, type JsonObject } from './json-object.ts';
import type { Transaction } from './open-database.ts';
import { createdBetween, readPage, type Page, type PageRequest } from './page.ts';
import { findOrCreateRepository } from './repositories.ts';
import { found, inScope, type Scope } from './scope.ts';
import { seal, unseal, type MasterKey } from './sealed-secret.ts';

/** A config as it may be shown: without its secrets. */
export type BackupConfigRow = Omit<BackupConfig, 'encryptionKey' | 'sealedSourcePassword' | 'sealedPartPasswords'>;

/** Values are validated by the caller: cron, zone, source, storage and backup options, and that their types fit. */
export interface BackupConfigInput {
  readonly businessEntityId: string;
  readonly name: string;
  readonly backupType: BackupType;
  readonly source: JsonObject;
  /** The password for the source's server, null for none; as it was when absent. */
  readonly sourcePassword?: SourcePassword | null | undefined;
  /** The passwords of the source's parts, all of them; as they were when absent. */
  readonly partPasswords?: PartPasswords | undefined;
  readonly schedule?: string | null | undefined;
  readonly timeZone?: string | undefined;
  /** Null keeps everything. */
  readonly retentionDays: number | null;
  readonly compressionEnabled?: boolean | undefined;
  /** The label that a worker has to carry to do its runs; null for any. */
  readonly workerLabel?: string | null | undefined;
  /** What libs/jobs' backupOptionsSchema takes. */
  readonly options?: JsonObject | undefined;
  readonly encryptionEnabled?: boolean | undefined;
  /** The repository's password; Holdfast makes one up when it is absent. */
  readonly encryptionKey?: string | undefined;
  readonly storageLocation: StorageLocation;
  readonly storageOptions: JsonObject;
  /** What libs/storage's locationKey says of the options. */
  readonly locationKey: string;
  /** What lets us in at the storage and what it is for; see RepositoryInput. */
  readonly credentialsPlace?: string | undefined;
  readonly credentials?: string | undefined;
  readonly isActive?: boolean | undefined;
}

export interface SourcePassword {
  /** The server and account that it is for; it opens for no other. Holds no secret. */
  readonly place: string;
  readonly password: string;
}

/** By the name of the part. `keep` is the one that is sealed already, which has to be for the same place. */
export type PartPasswords = Readonly<Record<string, SourcePassword | 'keep'>>;

export const secretConfigColumns = { encryptionKey: true, sealedSourcePassword: true, sealedPartPasswords: true } as const;
const omit = secretConfigColumns;

/** Makes a config and, when it is the first at its place, the repository's row. Codes: not_found (entity), conflict (password), credentials_missing. */
export async function createBackupConfig(
  tx: Transaction,
  scope: Scope,
  input: BackupConfigInput,
  masterKey: MasterKey,
): Promise<BackupConfigRow> {
  const { businessEntityId } = input;
  await findEntity(tx, scope, businessEntityId);
  const data = { businessEntityId, ...(await columns(tx, input, masterKey)) };
  const config = await tx.backupConfig.create({ data, omit });
  await appendConfigEvent(tx, config, 'created');
  return config;
}

/** Replaces everything but the entity; jobs keep the repository that they were written to. Codes: not_found, conflict, credentials_missing. */
export async function updateBackupConfig(
  tx: Transaction,
  scope: Scope,
  id: string,
  input: Omit<BackupConfigInput, 'businessEntityId'>,
  masterKey: MasterKey,
): Promise<BackupConfigRow> {
  const { businessEntityId } = await lockLiveConfig(tx, scope, id);
  const { sealedPartPasswords } = await tx.backupConfig.findUniqueOrThrow({ where: { id }, select: { sealedPartPasswords: true } });
  const data = await columns(tx, { ...input, businessEntityId }, masterKey, sealedParts(sealedPartPasswords));
  const config = await tx.backupConfig.update({ where: { id }, data, omit });
  await appendConfigEvent(tx, config, 'updated');
  return config;
}

/**
 * The password with which a worker reaches the server `place` of a config; null when it has none.
 * Codes: not_found, secret_unreadable (also when it was sealed for another place).
 */
export async function sourcePassword(rows: Transaction, id: string, place: string, masterKey: MasterKey): Promise<string | null> {
  const query = { where: { id }, select: { businessEntityId: true, sealedSourcePassword: true } } as const;
  const { businessEntityId, sealedSourcePassword } = found(await rows.backupConfig.findUnique(query), 'backup config', id);
  return sealedSourcePassword === null ? null : unseal(masterKey, sourceSecretContext(businessEntityId, place), sealedSourcePassword);
}

/** As sourcePassword, of one part of the source. */
export async function partPassword(
  rows: Transaction,
  id: string,
  part: { readonly name: string; readonly place: string },
  masterKey: MasterKey,
): Promise<string | null> {
  const query = { where: { id }, select: { businessEntityId: true, sealedPartPasswords: true } } as const;
  const { businessEntityId, sealedPartPasswords } = found(await rows.backupConfig.findUnique(query), 'backup config', id);
  const sealed = sealedParts(sealedPartPasswords)[part.name];
  return sealed === undefined ? null : unseal(masterKey, partSecretContext(businessEntityId, part.name, part.place), sealed);
}

function partSecretContext(businessEntityId: string, name: string, place: string): string {
  return `backup_configs.sealedPartPasswords:${businessEntityId}:${name}:${place}`;
}

function sealedParts(column: Prisma.JsonValue): Record<string, string> {
  const entries = isJsonObject(column) ? Object.entries(column) : [];
  return Object.fromEntries(entries.flatMap(([name, sealed]) => (typeof sealed === 'string' ? [[name, sealed]] : [])));
}

function sourceSecretContext(businessEntityId: string, place: string): string {
  return `backup_configs.sealedSourcePassword:${businessEntityId}:${place}`;
}

/** Takes the config out of use; its jobs and backups stay. Code: not_found, also for one that is deleted already. */
export async function deleteBackupConfig(tx: Transaction, scope: Scope, id: string, now: Date): Promise<void> {
  await lockLiveConfig(tx, scope, id);
  const config = await tx.backupConfig.update({ where: { id }, data: { deletedAt: now, isActive: false }, omit });
  await appendConfigEvent(tx, config, 'deleted');
}

/** Deleted ones too: their jobs refer to them. Code: not_found. */
export async function findBackupConfig(rows: Transaction, scope: Scope, id: string): Promise<BackupConfigRow> {
  return found(await rows.backupConfig.findFirst({ where: { AND: [{ id }, inScope(scope)] }, omit }), 'backup config', id);
}

/** Neither changed nor deleted by others until the transaction ends. Code: not_found, also for one that is deleted. */
export async function lockLiveConfig(tx: Transaction, scope: Scope, id: string): Promise<BackupConfigRow> {
  await tx.$executeRaw`SELECT 1 FROM "backup_configs" WHERE "id" = ${id} FOR NO KEY UPDATE`;
  const where = { AND: [{ id, deletedAt: null }, inScope(scope)] };
  return found(await tx.backupConfig.findFirst({ where, omit }), 'backup config', id);
}

export interface BackupConfigFilter {
  readonly entityId?: string | undefined;
  readonly type?: BackupType | undefined;
  readonly isActive?: boolean | undefined;
  readonly from?: Date | undefined;
  readonly to?: Date | undefined;
}

/** Those that are not deleted. */
export async function listBackupConfigs(
  rows: Transaction,
  scope: Scope,
  filter: BackupConfigFilter,
  page: PageRequest,
): Promise<Page<BackupConfigRow>> {
  const where: Prisma.BackupConfigWhereInput = {
    deletedAt: null,
    ...inScope(scope, filter.entityId),
    ...createdBetween(filter.from, filter.to),
    ...(filter.type === undefined ? {} : { backupType: filter.type }),
    ...(filter.isActive === undefined ? {} : { isActive: filter.isActive }),
  };
  return readPage(page, where, (query) => rows.backupConfig.findMany({ ...query, omit }));
}

export interface ConfigSchedule {
  readonly id: string;
  readonly schedule: string;
  readonly timeZone: string;
}

/** What the job schedulers should be: one for each active config with a cron expression. */
export async function activeSchedules(rows: Transaction): Promise<ConfigSchedule[]> {
  const where = { isActive: true, deletedAt: null, schedule: { not: null } };
  const configs = await rows.backupConfig.findMany({ where, select: { id: true, schedule: true, timeZone: true }, orderBy: { id: 'asc' } });
  return configs.flatMap(({ id, schedule, timeZone }) => (schedule === null ? [] : [{ id, schedule, timeZone }]));
}

async function columns(
  tx: Transaction,
  input: BackupConfigInput,
  masterKey: MasterKey,
  sealedBefore: Readonly<Record<string, string>> = {},
): Promise<Omit<Prisma.BackupConfigUncheckedCreateInput, 'businessEntityId'>> {
  const encryptionEnabled = input.encryptionEnabled ?? true;
  const { businessEntityId, storageLocation, storageOptions, locationKey, encryptionKey, credentialsPlace, credentials } = input;
  const place = { businessEntityId, storageLocation, storageOptions, locationKey, encryptionEnabled, credentialsPlace, credentials };
  const repository = await findOrCreateRepository(tx, { ...place, password: encryptionKey }, masterKey);
  return {
    repositoryId: repository.id,
    name: input.name,
    backupType: input.backupType,
    source: jsonInput(input.source),
    ...sealedSourceColumns(input, masterKey),
    ...sealedPartColumns(input, masterKey, sealedBefore),
    schedule: input.schedule ?? null,
    timeZone: input.timeZone ?? 'UTC',
    retentionDays: input.retentionDays,
    compressionEnabled: input.compressionEnabled ?? true,
    workerLabel: input.workerLabel ?? null,
    options: jsonInput(input.options ?? {}),
    encryptionEnabled,
    encryptionKey: encryptionKey === undefined ? null : seal(masterKey, `backup_configs.encryptionKey:${repository.id}`, encryptionKey),
    storageLocation,
    storageOptions: jsonInput(storageOptions),
    isActive: input.isActive ?? true,
  };
}

/** Nothing when the password is to stay. */
function sealedSourceColumns(input: BackupConfigInput, masterKey: MasterKey): { sealedSourcePassword?: string | null } {
  const { businessEntityId, sourcePassword: given } = input;
  if (given === undefined) return {};
  if (given === null) return { sealedSourcePassword: null };
  return { sealedSourcePassword: seal(masterKey, sourceSecretContext(businessEntityId, given.place), given.password) };
}

function sealedPartColumns(
  { businessEntityId, partPasswords }: BackupConfigInput,
  masterKey: MasterKey,
  before: Readonly<Record<string, string>>,
): { sealedPartPasswords?: Record<string, string> } {
  if (partPasswords === undefined) return {};
  const sealed = Object.entries(partPasswords).flatMap(([name, given]) => {
    if (given !== 'keep') return [[name, seal(masterKey, partSecretContext(businessEntityId, name, given.place), given.password)]];
    return before[name] === undefined ? [] : [[name, before[name]]];
  });
  return { sealedPartPasswords: Object.fromEntries(sealed) };
}

async function appendConfigEvent(tx: Transaction, config: BackupConfigRow, change: 'created' | 'updated' | 'deleted'): Promise<void> {
  const { id, businessEntityId, name, isActive } = config;
  await appendEvent(tx, {
    businessEntityId,
    type: `config.${change}`,
    subjectKind: 'config',
    subjectId: id,
    data: { name, isActive },
  });
}
