import { randomBytes } from 'node:crypto';
import { HoldfastError } from '@holdfast/errors/holdfast-error';
import type { Prisma, Repository, RepositoryState, StorageLocation } from '../generated/client.ts';
import { jsonInput, type JsonObject } from './json-object.ts';
import type { Transaction } from './open-database.ts';
import { readPage, type Page, type PageRequest } from './page.ts';
import { found, inScope, type Scope } from './scope.ts';
import { seal, unseal, type MasterKey } from './sealed-secret.ts';

/** A repository as it may be shown: without its password. */
export type RepositoryRow = Omit<Repository, 'sealedPassword'>;

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
}

/**
 * The repository of an entity at a place, made when there is none. Two that ask at once get the same one.
 * Code: conflict, when it exists with another password than the one given, or when a password is given without encryption.
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
    sealedPassword: seal(masterKey, secretContext(input), input.password ?? madeUp()),
  };
  const [created] = await tx.repository.createManyAndReturn({ data: [made], skipDuplicates: true, omit: { sealedPassword: true } });
  if (created !== undefined) return created;
  const key = { businessEntityId, locationKey, encryptionEnabled };
  const { sealedPassword, ...existing } = await tx.repository.findUniqueOrThrow({
    where: { businessEntityId_locationKey_encryptionEnabled: key },
  });
  if (input.password !== undefined && input.password !== unseal(masterKey, secretContext(existing), sealedPassword)) {
    throw new HoldfastError('conflict', 'the repository at this place has another encryption key', {
      hint: 'leave the key out to share the repository, give its key, or choose another place',
      context: { repositoryId: existing.id },
    });
  }
  return existing;
}

/** Code: not_found. */
export async function findRepository(rows: Transaction, scope: Scope, id: string): Promise<RepositoryRow> {
  const where = { AND: [{ id }, inScope(scope)] };
  return found(await rows.repository.findFirst({ where, omit: { sealedPassword: true } }), 'repository', id);
}

export async function listRepositories(
  rows: Transaction,
  scope: Scope,
  filter: { readonly entityId?: string | undefined },
  page: PageRequest = {},
): Promise<Page<RepositoryRow>> {
  return readPage(page, inScope(scope, filter.entityId), (query) => rows.repository.findMany({ ...query, omit: { sealedPassword: true } }));
}

/** The password with which a worker opens the repository; empty when encryption is off. Codes: not_found, secret_unreadable. */
export async function repositoryPassword(rows: Transaction, id: string, masterKey: MasterKey): Promise<string> {
  const repository = found(await rows.repository.findUnique({ where: { id } }), 'repository', id);
  return unseal(masterKey, secretContext(repository), repository.sealedPassword);
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
function secretContext(of: Pick<Repository, 'businessEntityId' | 'locationKey' | 'encryptionEnabled'>): string {
  return `repositories.sealedPassword:${of.businessEntityId}:${of.encryptionEnabled ? 'encrypted' : 'open'}:${of.locationKey}`;
}
