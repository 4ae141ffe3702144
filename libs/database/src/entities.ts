import { HoldfastError } from '@holdfast/errors/holdfast-error';
import type { BusinessEntity } from '../generated/client.ts';
import { appendEvent } from './events.ts';
import type { Transaction } from './open-database.ts';
import { readPage, type Page, type PageRequest } from './page.ts';
import { found, type Scope } from './scope.ts';

export type EntityRow = BusinessEntity;

/** Code: conflict, when the name is taken. */
export async function createEntity(tx: Transaction, input: { readonly name: string }): Promise<EntityRow> {
  const [entity] = await tx.businessEntity.createManyAndReturn({ data: [{ name: input.name }], skipDuplicates: true });
  if (entity === undefined) {
    throw new HoldfastError('conflict', `there is an entity named ${input.name} already`, {
      hint: 'choose another name, or use that entity',
    });
  }
  await appendEvent(tx, {
    businessEntityId: entity.id,
    type: 'entity.created',
    subjectKind: 'entity',
    subjectId: entity.id,
    data: { name: entity.name },
  });
  return entity;
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

function ids(scope: Scope): { id?: { in: string[] } } {
  return scope === '*' ? {} : { id: { in: [...scope] } };
}
