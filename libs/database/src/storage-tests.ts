import { jsonInput, type JsonObject } from './json-object.ts';
import type { Transaction } from './open-database.ts';
import { found, isInScope, type Scope } from './scope.ts';
import { seal, unseal, type MasterKey } from './sealed-secret.ts';

/** Places that are tried before they are used. A row carries the question to a worker and the answer back, and is removed then. */
export interface StorageTestInput {
  readonly businessEntityId: string;
  /** When it is the place of a repository that has its credentials. */
  readonly repositoryId?: string | undefined;
  readonly storageOptions: JsonObject;
  readonly credentialsPlace?: string | undefined;
  /** JSON text. */
  readonly credentials?: string | undefined;
}

/** Returns the row's id. Code: not_found (entity). */
export async function createStorageTest(tx: Transaction, scope: Scope, input: StorageTestInput, masterKey: MasterKey): Promise<string> {
  const { businessEntityId, repositoryId, credentialsPlace, credentials } = input;
  const isVisible = isInScope(scope, businessEntityId);
  found(isVisible ? await tx.businessEntity.findUnique({ where: { id: businessEntityId } }) : null, 'entity', businessEntityId);
  const isSealed = credentials !== undefined && credentialsPlace !== undefined;
  const { id } = await tx.storageTest.create({
    data: {
      businessEntityId,
      repositoryId: repositoryId ?? null,
      storageOptions: jsonInput(input.storageOptions),
      credentialsPlace: credentialsPlace ?? null,
      sealedCredentials: isSealed ? seal(masterKey, secretContext(businessEntityId, credentialsPlace), credentials) : null,
    },
    select: { id: true },
  });
  return id;
}

/** What a worker needs to do it. `credentials` is JSON text, null for none. */
export interface StorageTestWork {
  readonly repositoryId: string | null;
  readonly storageOptions: unknown;
  readonly credentials: string | null;
}

/** Undefined when nobody waits for it any longer. Code: secret_unreadable. */
export async function findStorageTestWork(rows: Transaction, id: string, masterKey: MasterKey): Promise<StorageTestWork | undefined> {
  const row = await rows.storageTest.findUnique({ where: { id, finishedAt: null } });
  if (row === null) return undefined;
  const { businessEntityId, repositoryId, storageOptions, sealedCredentials, credentialsPlace } = row;
  const context = secretContext(businessEntityId, credentialsPlace ?? '');
  return { repositoryId, storageOptions, credentials: sealedCredentials === null ? null : unseal(masterKey, context, sealedCredentials) };
}

/** No error when nobody waits for it any longer. */
export async function finishStorageTest(rows: Transaction, id: string, result: JsonObject, finishedAt: Date): Promise<void> {
  await rows.storageTest.updateMany({ where: { id }, data: { result: jsonInput(result), finishedAt } });
}

/** Undefined until it is finished. */
export async function storageTestResult(rows: Transaction, id: string): Promise<unknown> {
  const row = await rows.storageTest.findUnique({ where: { id, finishedAt: { not: null } }, select: { result: true } });
  return row?.result ?? undefined;
}

export async function deleteStorageTest(rows: Transaction, id: string): Promise<void> {
  await rows.storageTest.deleteMany({ where: { id } });
}

/** Removes those that whoever asked has left behind. */
export async function sweepStorageTests(rows: Transaction, createdBefore: Date): Promise<void> {
  await rows.storageTest.deleteMany({ where: { createdAt: { lt: createdBefore } } });
}

function secretContext(businessEntityId: string, place: string): string {
  return `storage_tests.sealedCredentials:${businessEntityId}:${place}`;
}
