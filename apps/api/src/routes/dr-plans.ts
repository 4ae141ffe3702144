import { z } from 'zod';
import { createDrPlan, deleteDrPlan, findDrPlan, listDrPlans, updateDrPlan, type DrPlanRow } from '@holdfast/database/dr-plans';
import { inTransaction } from '@holdfast/database/in-transaction';
import { callerOrThrow } from '../plugins/authentication.ts';
import { fieldError } from '../problem.ts';
import { givenFields } from '../schemas/given-fields.ts';
import {
  descriptionMaxChars,
  idParamsSchema,
  idSchema,
  jsonSchema,
  listQuerySchema,
  nameMaxChars,
  pageSchema,
  queryBooleanSchema,
  textSchema,
} from '../schemas/primitives.ts';
import { noContentSchema, problemResponses } from '../schemas/responses.ts';
import type { Routes, ServerDeps } from '../server-deps.ts';

const priorityMax = 1000;
/** Ten years: an objective beyond it is none. */
const objectiveMaxMinutes = 10 * 366 * 24 * 60;

const documentSchema = jsonSchema.refine((value) => typeof value === 'object' && value !== null, 'must be a JSON object or list');

const fields = {
  name: textSchema(nameMaxChars),
  description: textSchema(descriptionMaxChars).nullable(),
  priority: z.number().int().min(1).max(priorityMax).describe('1 is the most urgent'),
  rto: z.number().int().min(0).max(objectiveMaxMinutes).describe('Recovery time objective, minutes'),
  rpo: z.number().int().min(0).max(objectiveMaxMinutes).describe('Recovery point objective, minutes'),
  procedures: documentSchema.nullable().describe('Steps, as a JSON object or list'),
  contacts: documentSchema.nullable().describe('Whom to call, as a JSON object or list'),
  isActive: z.boolean(),
};

const createSchema = z.strictObject({
  businessEntityId: idSchema,
  ...fields,
  description: fields.description.default(null),
  procedures: fields.procedures.default(null),
  contacts: fields.contacts.default(null),
  isActive: fields.isActive.default(true),
});

const updateSchema = z.strictObject({ businessEntityId: idSchema, ...fields }).partial();

const planSchema = z
  .object({
    id: z.string(),
    businessEntityId: z.string(),
    name: z.string(),
    description: z.string().nullable(),
    priority: z.number().int(),
    rto: z.number().int(),
    rpo: z.number().int(),
    procedures: z.unknown(),
    contacts: z.unknown(),
    isActive: z.boolean(),
    createdAt: z.string(),
    updatedAt: z.string(),
  })
  .meta({ id: 'DisasterRecoveryPlan' });

function planView(row: DrPlanRow) {
  const { id, businessEntityId, name, description, priority, rto, rpo, procedures, contacts, isActive } = row;
  const times = { createdAt: row.createdAt.toISOString(), updatedAt: row.updatedAt.toISOString() };
  return { id, businessEntityId, name, description, priority, rto, rpo, procedures, contacts, isActive, ...times };
}

const common = { tags: ['plans'], security: [{ bearer: [] }] };

export function addPlanRoutes(routes: Routes, deps: ServerDeps): void {
  addPlanChanges(routes, deps);
  const { database } = deps;

  routes.get(
    '/dr-plans',
    {
      config: { access: 'viewer' },
      schema: {
        ...common,
        summary: 'List disaster recovery plans',
        querystring: listQuerySchema.omit({ from: true, to: true }).extend({ isActive: queryBooleanSchema.optional() }),
        response: { 200: pageSchema(planSchema), ...problemResponses('request_invalid') },
      },
    },
    async (request) => {
      const { limit, cursor, ...filter } = request.query;
      const { items, nextCursor } = await listDrPlans(database.client, callerOrThrow(request).scope, filter, { limit, cursor });
      return { items: items.map(planView), nextCursor };
    },
  );

  routes.get(
    '/dr-plans/:id',
    {
      config: { access: 'viewer' },
      schema: {
        ...common,
        summary: 'Read a disaster recovery plan',
        params: idParamsSchema,
        response: { 200: planSchema, ...problemResponses('not_found') },
      },
    },
    async (request) => planView(await findDrPlan(database.client, callerOrThrow(request).scope, request.params.id)),
  );
}

function addPlanChanges(routes: Routes, { database }: ServerDeps): void {
  routes.post(
    '/dr-plans',
    {
      config: { access: 'operator' },
      schema: {
        ...common,
        summary: 'Add a disaster recovery plan',
        body: createSchema,
        response: { 201: planSchema, ...problemResponses('request_invalid', 'not_found', 'request_too_large') },
      },
    },
    async (request, reply) => {
      const { scope } = callerOrThrow(request);
      const { procedures, contacts, ...body } = request.body;
      const input = { ...body, procedures: asDocument(procedures), contacts: asDocument(contacts) };
      return reply.code(201).send(planView(await inTransaction(database, (tx) => createDrPlan(tx, scope, input))));
    },
  );

  routes.put(
    '/dr-plans/:id',
    {
      config: { access: 'operator' },
      schema: {
        ...common,
        summary: 'Change a disaster recovery plan; fields that are left out keep their value',
        params: idParamsSchema,
        body: updateSchema,
        response: { 200: planSchema, ...problemResponses('request_invalid', 'not_found', 'request_too_large') },
      },
    },
    async (request) => {
      const { scope } = callerOrThrow(request);
      const { id } = request.params;
      const row = await inTransaction(database, async (tx) => {
        const before = await findDrPlan(tx, scope, id);
        return updateDrPlan(tx, scope, id, merged(before, request.body));
      });
      return planView(row);
    },
  );

  routes.delete(
    '/dr-plans/:id',
    {
      config: { access: 'operator' },
      schema: {
        ...common,
        summary: 'Delete a disaster recovery plan',
        params: idParamsSchema,
        response: { 204: noContentSchema, ...problemResponses('not_found') },
      },
    },
    async (request, reply) => {
      await inTransaction(database, (tx) => deleteDrPlan(tx, callerOrThrow(request).scope, request.params.id));
      return reply.code(204).send();
    },
  );
}

function merged(before: DrPlanRow, { businessEntityId, procedures, contacts, ...changes }: z.output<typeof updateSchema>) {
  if (businessEntityId !== undefined && businessEntityId !== before.businessEntityId) {
    throw fieldError('request_invalid', [{ field: 'businessEntityId', message: 'cannot change; add a plan to the other entity instead' }]);
  }
  const { name, description, priority, rto, rpo, isActive } = before;
  return {
    name,
    description,
    priority,
    rto,
    rpo,
    isActive,
    ...givenFields(changes),
    procedures: asDocument(procedures === undefined ? before.procedures : procedures),
    contacts: asDocument(contacts === undefined ? before.contacts : contacts),
  };
}

/** The schema lets objects and lists through only; rows hold nothing else. */
function asDocument(value: unknown): object | null {
  return typeof value === 'object' ? value : null;
}
