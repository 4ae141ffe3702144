import { randomBytes } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';
import { HoldfastError } from '@holdfast/errors/holdfast-error';
import type { Prisma, Repository, RepositoryState, StorageLocation } from '../generated/client.ts';
import { jsonInput, type JsonObject } from './json-object.ts';
import type { Transaction } from './open-database.ts';
import { readPage, type Page, type PageRequest } from './page.ts';
import { found, inScope, type Scope } from './scope.ts';
import { seal, unseal, type MasterKey } from './sealed-secret.ts';

/** A repository as it may be shown: without its secrets. */
export type RepositoryRow = Omit<Repository, keyof typeof secretRepositoryColumns>;

export const secretRepositoryColumns = { sealedPassword: true, sealedStorageCredentials: true } as const;
const omit = secretRepositoryColumns;

/** 256 bits: a made-up password is never the weak spot. */
const madeUpPasswordBytes = 32;

export interface RepositoryInput {
  readonly businessEntityId: string;
  readonly storageLocation: StorageLocation;
  readonly storageOptions: JsonObject;
  /** Canonical form of the storage options: what makes two configs share a repository. */
  readonly locationKey: string;
  readonly encryptionEnabled: boolean;
  /** As the user gave it; made up when absent. Must be absent when encryption is off. */
  readonly password?: string | undefined;
  /** What libs/storage's credentialsPlace says of the options; absent where no credentials are needed. */
  readonly credentialsPlace?: string | undefined;
  /** What lets us in at that place, as JSON text; those that are sealed stay when it is absent. */
  readonly credentials?: string | undefined;
}

/**
 * The repository of an entity at a place, made when there is none. Two that ask at once get the same one. One that is there takes the
 * options and the credentials that are given, and its other configs take the options: there is one way to a place, and the newest word on
 * it counts.
 * Codes: conflict, when it exists with another password than the one given, or when a password is given without encryption;
 * credentials_missing, when it needs some and there are none for that place.
 */
export async function findOrCreateRepository(tx: Transaction, input: RepositoryInput, masterKey: MasterKey): Promise<RepositoryRow> {
  if (!input.encryptionEnabled && input.password !== undefined) {
    throw new HoldfastError('conflict', 'an encryption key is given but encryption is off', {
      hint: 'leave the key out, or turn encryption on',
    });
  }
  const madeUp = (): string => (input.encryptionEnabled ? randomBytes(madeUpPasswordBytes).toString('base64url') : '');
  const { businessEntityId, locationKey, encryptionEnabled } = input;
  const made: Prisma.RepositoryCreateManyInput = {
    businessEntityId,
    storageLocation: input.storageLocation,
    storageOptions: jsonInput(input.storageOptions),
    locationKey,
    encryptionEnabled,
    sealedPassword: seal(masterKey, passwordContext(input), input.password ?? madeUp()),
    ...sealedCredentialsColumns(input, masterKey),
  };
  const [created] = await tx.repository.createManyAndReturn({ data: [made], skipDuplicates: true, omit });
  if (created !== undefined) {
    refuseMissingCredentials(created, input);
    return created;
  }
  const key = { businessEntityId, locationKey, encryptionEnabled };
  const existing = await tx.repository.findUniqueOrThrow({ where: { businessEntityId_locationKey_encryptionEnabled: key } });
  if (input.password !== undefined && input.password !== unseal(masterKey, passwordContext(existing), existing.sealedPassword)) {
    throw new HoldfastError('conflict', 'the repository at this place has another encryption key', {
      hint: 'leave the key out to share the repository, give its key, or choose another place',
      context: { repositoryId: existing.id },
    });
  }
  const storageOptions = jsonInput(input.storageOptions);
  const data = { storageOptions, ...sealedCredentialsColumns(input, masterKey) };
  const updated = await tx.repository.update({ where: { id: existing.id }, data, omit });
  if (!isDeepStrictEqual(existing.storageOptions, input.storageOptions)) {
    await tx.backupConfig.updateMany({ where: { repositoryId: existing.id }, data: { storageOptions } });
  }
  refuseMissingCredentials(updated, input);
  return updated;
}

/**
 * Makes way for another try to adopt a repository that nobody has ever opened and no config has: the password, and whether there is one, were
 * a guess. Gives whether there was such a row.
 */
export async function replaceUnopenedPassword(tx: Transaction, input: RepositoryInput, masterKey: MasterKey): Promise<boolean> {
  const { businessEntityId, locationKey, encryptionEnabled } = input;
  const unopened = await tx.repository.findFirst({
    where: { businessEntityId, locationKey, resticId: null, backupConfigs: { none: {} }, adoptionJobs: { some: {} } },
    select: { id: true },
  });
  if (unopened === null) return false;
  const sealedPassword = seal(masterKey, passwordContext(input), input.password ?? '');
  await tx.repository.update({ where: { id: unopened.id }, data: { encryptionEnabled, sealedPassword } });
  return true;
}

/** Credentials go with their place: what was given for one server is not sent to another, or in another's sight, because somebody changed the options. */
function refuseMissingCredentials(row: RepositoryRow, { credentialsPlace }: RepositoryInput): void {
  if (row.storageCredentialsPlace === (credentialsPlace ?? null)) return;
  throw new HoldfastError('credentials_missing', 'the credentials for this storage are missing', {
    hint: 'send them with the options: those that are known are for another server, account or authority',
  });
}

/** Nothing when those that are there are to stay. */
function sealedCredentialsColumns(
  input: RepositoryInput,
  masterKey: MasterKey,
): { sealedStorageCredentials?: string | null; storageCredentialsPlace?: string | null } {
  const { credentialsPlace, credentials } = input;
  if (credentialsPlace === undefined) return { sealedStorageCredentials: null, storageCredentialsPlace: null };
  if (credentials === undefined) return {};
  const sealedStorageCredentials = seal(masterKey, credentialsContext(input.businessEntityId, credentialsPlace), credentials);
  return { sealedStorageCredentials, storageCredentialsPlace: credentialsPlace };
}

/** Code: not_found. */
export async function findRepository(rows: Transaction, scope: Scope, id: string): Promise<RepositoryRow> {
  const where = { AND: [{ id }, inScope(scope)] };
  return found(await rows.repository.findFirst({ where, omit }), 'repository', id);
}

/** The one of all entities that has this id in its own config file; null when there is none. */
export async function findRepositoryByResticId(rows: Transaction, resticId: string): Promise<RepositoryRow | null> {
  return rows.repository.findFirst({ where: { resticId }, omit });
}

export async function listRepositories(
  rows: Transaction,
  scope: Scope,
  filter: { readonly entityId?: string | undefined },
  page: PageRequest = {},
): Promise<Page<RepositoryRow>> {
  return readPage(page, inScope(scope, filter.entityId), (query) => rows.repository.findMany({ ...query, omit }));
}

/** The password with which a worker opens the repository; empty when encryption is off. Codes: not_found, secret_unreadable. */
export async function repositoryPassword(rows: Transaction, id: string, masterKey: MasterKey): Promise<string> {
  const repository = found(await rows.repository.findUnique({ where: { id } }), 'repository', id);
  return unseal(masterKey, passwordContext(repository), repository.sealedPassword);
}

/**
 * What lets a worker in at the storage of a repository, as JSON text; null where nothing is needed. `place` is what the options say now.
 * Codes: not_found, secret_unreadable (also when they were given for another place).
 */
export async function storageCredentials(rows: Transaction, id: string, place: string, masterKey: MasterKey): Promise<string | null> {
  const select = { businessEntityId: true, sealedStorageCredentials: true } as const;
  const { businessEntityId, sealedStorageCredentials } = found(
    await rows.repository.findUnique({ where: { id }, select }),
    'repository',
    id,
  );
  return sealedStorageCredentials === null
    ? null
    : unseal(masterKey, credentialsContext(businessEntityId, place), sealedStorageCredentials);
}

/**
 * Says that a repository lies elsewhere now: the same one, moved by somebody. Its configs take the place, and its password is sealed for it.
 * Gives false when it lay there already. Codes: not_found, secret_unreadable, conflict (another one of the entity has that place).
 */
export async function moveRepository(
  tx: Transaction,
  id: string,
  to: Pick<RepositoryInput, 'storageOptions' | 'locationKey'>,
  masterKey: MasterKey,
): Promise<boolean> {
  const before = found(await tx.repository.findUnique({ where: { id } }), 'repository', id);
  const { locationKey } = to;
  if (before.locationKey === locationKey) return false;
  const { businessEntityId, encryptionEnabled } = before;
  const taken = await tx.repository.findFirst({ where: { businessEntityId, encryptionEnabled, locationKey }, select: { id: true } });
  if (taken !== null) throw new HoldfastError('conflict', `repository ${taken.id} has the place ${locationKey} already`);
  const password = unseal(masterKey, passwordContext(before), before.sealedPassword);
  const sealedPassword = seal(masterKey, passwordContext({ ...before, locationKey }), password);
  const storageOptions = jsonInput(to.storageOptions);
  await tx.repository.update({ where: { id }, data: { storageOptions, locationKey, sealedPassword } });
  await tx.backupConfig.updateMany({ where: { repositoryId: id }, data: { storageOptions } });
  return true;
}

/** What a worker last saw of a repository; only the given fields change. */
export async function recordRepositoryState(
  rows: Transaction,
  id: string,
  seen: {
    readonly state?: RepositoryState;
    readonly resticId?: string;
    readonly probedAt?: Date;
    readonly probeLatencyMs?: number | null;
    readonly probeErrorCode?: string | null;
  },
): Promise<void> {
  await rows.repository.update({ where: { id }, data: seen });
}

/** Named after what makes the row unique, so that it is known before the row is. */
function passwordContext(of: Pick<Repository, 'businessEntityId' | 'locationKey' | 'encryptionEnabled'>): string {
  return `repositories.sealedPassword:${of.businessEntityId}:${of.encryptionEnabled ? 'encrypted' : 'open'}:${of.locationKey}`;
}

function credentialsContext(businessEntityId: string, place: string): string {
  return `repositories.sealedStorageCredentials:${businessEntityId}:${place}`;
}
