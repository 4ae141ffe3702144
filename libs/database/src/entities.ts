import { HoldfastError } from '@holdfast/errors/holdfast-error';
import type { BusinessEntity, Prisma } from '../generated/client.ts';
import { appendEvent } from './events.ts';
import type { Transaction } from './open-database.ts';
import { readPage, type Page, type PageRequest } from './page.ts';
import { found, idsInScope, systemEntityId, type Scope } from './scope.ts';

export type EntityRow = BusinessEntity;

/** Code: conflict, when the name is taken. */
export async function createEntity(tx: Transaction, input: { readonly name: string }): Promise<EntityRow> {
  const [entity] = await tx.businessEntity.createManyAndReturn({ data: [{ name: input.name }], skipDuplicates: true });
  if (entity === undefined) {
    throw new HoldfastError('conflict', `there is an entity named ${input.name} already`, {
      hint: 'choose another name, or use that entity',
    });
  }
  await appendCreated(tx, entity);
  return entity;
}

async function appendCreated(tx: Transaction, { id, name }: EntityRow): Promise<void> {
  await appendEvent(tx, { businessEntityId: id, type: 'entity.created', subjectKind: 'entity', subjectId: id, data: { name } });
}

/** What the system's entity is called; the second where a tenant has that name. */
const systemNames = ['system', 'system (Holdfast itself)'] as const;

/** The entity that stands for Holdfast itself, made when it is not there. Code: conflict, when tenants have both of its names. */
export async function ensureSystemEntity(tx: Transaction): Promise<EntityRow> {
  const query = { where: { id: systemEntityId } };
  for (const name of systemNames) {
    const [made] = await tx.businessEntity.createManyAndReturn({ data: [{ id: systemEntityId, name }], skipDuplicates: true });
    if (made !== undefined) await appendCreated(tx, made);
    const there = made ?? (await tx.businessEntity.findUnique(query));
    if (there !== null) return there;
  }
  throw new HoldfastError('conflict', `entities are named ${systemNames.join(' and ')} already`);
}

/** Code: not_found. */
export async function findEntity(rows: Transaction, scope: Scope, id: string): Promise<EntityRow> {
  return found(await rows.businessEntity.findFirst({ where: { AND: [{ id }, ids(scope)] } }), 'entity', id);
}

/** Null when there is none: for whoever then makes it. */
export async function findEntityByName(rows: Transaction, name: string): Promise<EntityRow | null> {
  return rows.businessEntity.findUnique({ where: { name } });
}

export async function listEntities(rows: Transaction, scope: Scope, page: PageRequest): Promise<Page<EntityRow>> {
  return readPage(page, ids(scope), (query) => rows.businessEntity.findMany(query));
}

function ids(scope: Scope): Prisma.BusinessEntityWhereInput {
  const id = idsInScope(scope);
  return id === undefined ? {} : { id };
}
