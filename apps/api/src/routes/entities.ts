import { z } from 'zod';
import { createEntity, ensureSystemEntity, findEntity, listEntities, type EntityRow } from '@holdfast/database/entities';
import { inTransaction } from '@holdfast/database/in-transaction';
import { callerOrThrow } from '../plugins/authentication.ts';
import { idParamsSchema, listQuerySchema, nameMaxChars, pageSchema, textSchema } from '../schemas/primitives.ts';
import { problemResponses } from '../schemas/responses.ts';
import type { Routes, ServerDeps } from '../server-deps.ts';

const entitySchema = z
  .object({ id: z.string(), name: z.string(), createdAt: z.string(), updatedAt: z.string() })
  .meta({ id: 'BusinessEntity' });

const entityView = (row: EntityRow) => ({
  id: row.id,
  name: row.name,
  createdAt: row.createdAt.toISOString(),
  updatedAt: row.updatedAt.toISOString(),
});

const common = { tags: ['entities'], security: [{ bearer: [] }] };

export function addEntityRoutes(routes: Routes, { database }: ServerDeps): void {
  routes.post(
    '/entities',
    {
      config: { access: 'all_entities_admin' },
      schema: {
        ...common,
        summary: 'Add a business entity',
        body: z.strictObject({ name: textSchema(nameMaxChars).describe('Unique') }),
        response: { 201: entitySchema, ...problemResponses('request_invalid', 'conflict') },
      },
    },
    async (request, reply) => {
      const row = await inTransaction(database, (tx) => createEntity(tx, request.body));
      return reply.code(201).send(entityView(row));
    },
  );

  routes.post(
    '/entities/system',
    {
      config: { access: 'all_entities_admin' },
      schema: {
        ...common,
        summary: 'The entity that stands for Holdfast itself, made when it is not there',
        description: 'Its configs may back up the database of the service (source own_database). Only admins of all entities see it.',
        response: { 200: entitySchema, ...problemResponses('conflict') },
      },
    },
    async () => entityView(await inTransaction(database, (tx) => ensureSystemEntity(tx))),
  );

  routes.get(
    '/entities',
    {
      config: { access: 'viewer' },
      schema: {
        ...common,
        summary: 'List the business entities that the token may touch',
        querystring: listQuerySchema.pick({ limit: true, cursor: true }),
        response: { 200: pageSchema(entitySchema), ...problemResponses('request_invalid') },
      },
    },
    async (request) => {
      const page = await listEntities(database.client, callerOrThrow(request).scope, request.query);
      return { items: page.items.map(entityView), nextCursor: page.nextCursor };
    },
  );

  routes.get(
    '/entities/:id',
    {
      config: { access: 'viewer' },
      schema: {
        ...common,
        summary: 'Read a business entity',
        params: idParamsSchema,
        response: { 200: entitySchema, ...problemResponses('not_found') },
      },
    },
    async (request) => entityView(await findEntity(database.client, callerOrThrow(request).scope, request.params.id)),
  );
}
