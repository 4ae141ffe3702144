import { z } from 'zod';
import {
  createBackupConfig,
  deleteBackupConfig,
  findBackupConfig,
  listBackupConfigs,
  updateBackupConfig,
  type BackupConfigRow,
} from '@holdfast/database/backup-configs';
import { rerouteRuns } from '@holdfast/database/reroute-runs';
import { inTransaction } from '@holdfast/database/in-transaction';
import { backupOptionsSchema } from '@holdfast/jobs/backup-options';
import { databasePasswordSchema } from '@holdfast/sources/postgresql/connection-options';
import { sourceOptionsSchema, type SourceOptions } from '@holdfast/sources/source-options';
import { partPasswordsSchema, type GivenPartPasswords } from '@holdfast/sources/source-options/application-data';
import { storageOptionsSchema } from '@holdfast/storage/storage-options';
import { lockBase, refuseDeletionOfBase, refuseLossOfBase, refuseOtherRepository } from '../base-config.ts';
import { backupTypes, builtBackupTypes, builtStorageLocations, checkConfig, refuseUnbuilt, storageLocations } from '../check-config.ts';
import { partPasswordsFor, passwordPlace } from '../check-source.ts';
import { callerOrThrow } from '../plugins/authentication.ts';
import { fieldError } from '../problem.ts';
import { checkOwnDatabase } from '../source-checks/own-database.ts';
import { givenFields } from '../schemas/given-fields.ts';
import { placeFields, scheduleFields } from '../schemas/place-fields.ts';
import {
  idParamsSchema,
  idSchema,
  listQuerySchema,
  nameMaxChars,
  pageSchema,
  queryBooleanSchema,
  textSchema,
} from '../schemas/primitives.ts';
import { noContentSchema, problemResponses } from '../schemas/responses.ts';
import { iso } from '../schemas/run-view.ts';
import { workerLabelSchema } from '../schemas/worker-label.ts';
import type { Routes, ServerDeps } from '../server-deps.ts';
import { namingCredentials, refusePlace, storagePlace } from '../storage-place.ts';
import { moveRuns } from '../move-runs.ts';
import { syncScheduler } from '../sync-scheduler.ts';

/** A century: longer than any rule of keeping records. */
const retentionMaxDays = 36_500;

/** The fields that a config is made of. Defaults are added on creation only: a change keeps what it does not name. */
const fields = {
  name: textSchema(nameMaxChars),
  backupType: z.enum(backupTypes).describe(`Now: ${builtBackupTypes.join(', ')}`),
  source: sourceOptionsSchema.describe('What is backed up; its type goes with backupType'),
  sourcePassword: databasePasswordSchema
    .nullable()
    .describe('Password for the server that is backed up; null for none. It is sealed on arrival and never returned'),
  sourcePasswords: partPasswordsSchema.describe(
    'Passwords of the parts of an application_data source, by the name of the part; `hooks` is a bearer token for HTTP hooks. Sealed on arrival and never returned',
  ),
  schedule: scheduleFields.schedule.nullable().describe('Cron expression of five or six fields; null to run on request only'),
  timeZone: scheduleFields.timeZone,
  retentionDays: z.number().int().min(1).max(retentionMaxDays).describe('How long a backup is kept'),
  compressionEnabled: z.boolean().describe('False stores data as it is; how much it is compressed is said in options'),
  workerLabel: workerLabelSchema
    .nullable()
    .describe('The label that a worker has to carry to do the runs of this config, such as site-berlin; null for any worker'),
  options: backupOptionsSchema.describe('How backups and verifications do their work; a change replaces them whole'),
  ...placeFields,
  isActive: z.boolean().describe('Inactive configs take no new jobs'),
};

const createSchema = z.strictObject({
  businessEntityId: idSchema,
  ...fields,
  sourcePassword: fields.sourcePassword.optional(),
  sourcePasswords: fields.sourcePasswords.optional(),
  schedule: fields.schedule.default(null),
  timeZone: fields.timeZone.default('UTC'),
  compressionEnabled: fields.compressionEnabled.default(true),
  workerLabel: fields.workerLabel.default(null),
  options: fields.options.default({}),
  encryptionEnabled: fields.encryptionEnabled.default(true),
  encryptionKey: fields.encryptionKey.optional(),
  storageCredentials: fields.storageCredentials.optional(),
  isActive: fields.isActive.default(true),
});

const updateSchema = z.strictObject({ businessEntityId: idSchema, ...fields }).partial();

const configSchema = z
  .object({
    id: z.string(),
    businessEntityId: z.string(),
    repositoryId: z.string().describe('Configs of an entity with the same storage share a repository'),
    name: z.string(),
    backupType: z.enum(backupTypes),
    source: z.unknown().describe('As it was given'),
    schedule: z.string().nullable(),
    timeZone: z.string(),
    retentionDays: z.number().int().nullable().describe('Null keeps every backup: of a config that an adoption made, until it is set'),
    compressionEnabled: z.boolean(),
    workerLabel: z.string().nullable().describe('The label that a worker has to carry to do its runs; null for any'),
    options: z.unknown().describe('As they were given'),
    encryptionEnabled: z.boolean(),
    storageLocation: z.enum(storageLocations),
    storageOptions: z.unknown().describe('As they were given'),
    isActive: z.boolean(),
    deletedAt: z.string().nullable().describe('When it was deleted; its jobs and backups stay'),
    createdAt: z.string(),
    updatedAt: z.string(),
  })
  .meta({ id: 'BackupConfig' });

function configView(row: BackupConfigRow) {
  const { id, businessEntityId, repositoryId, name, backupType, source, schedule, timeZone, retentionDays } = row;
  const { compressionEnabled, workerLabel, options, encryptionEnabled, storageLocation, storageOptions, isActive } = row;
  return {
    id,
    businessEntityId,
    repositoryId,
    name,
    backupType,
    source,
    schedule,
    timeZone,
    retentionDays,
    compressionEnabled,
    workerLabel,
    options,
    encryptionEnabled,
    storageLocation,
    storageOptions,
    isActive,
    deletedAt: iso(row.deletedAt),
    createdAt: row.createdAt.toISOString(),
    updatedAt: row.updatedAt.toISOString(),
  };
}

const common = { tags: ['configs'], security: [{ bearer: [] }] };
const bodyProblems = [
  'request_invalid',
  'schedule_invalid',
  'not_found',
  'conflict',
  'type_not_supported',
  'path_outside_roots',
  'postgresql_host_not_allowed',
  'hook_host_not_allowed',
  'storage_host_not_allowed',
  'credentials_missing',
  'request_too_large',
] as const;

/** Before the body is checked: a kind that has a name but is not built is told as such. */
function refuseUnbuiltKinds(body: unknown): void {
  refuseUnbuilt(body, 'backupType', backupTypes, builtBackupTypes);
  refuseUnbuilt(body, 'storageLocation', storageLocations, builtStorageLocations);
}

export function addConfigRoutes(routes: Routes, deps: ServerDeps): void {
  addConfigCreation(routes, deps);
  addConfigChanges(routes, deps);
  addConfigDeletion(routes, deps);
  const { database } = deps;

  routes.get(
    '/configs',
    {
      config: { access: 'viewer' },
      schema: {
        ...common,
        summary: 'List the configs that are not deleted',
        querystring: listQuerySchema.extend({
          type: z.enum(backupTypes).optional().describe('Only of this backup type'),
          isActive: queryBooleanSchema.optional(),
        }),
        response: { 200: pageSchema(configSchema), ...problemResponses('request_invalid') },
      },
    },
    async (request) => {
      const { limit, cursor, from, to, ...filter } = request.query;
      const times = { from: from === undefined ? undefined : new Date(from), to: to === undefined ? undefined : new Date(to) };
      const page = await listBackupConfigs(database.client, callerOrThrow(request).scope, { ...filter, ...times }, { limit, cursor });
      return { items: page.items.map(configView), nextCursor: page.nextCursor };
    },
  );

  routes.get(
    '/configs/:id',
    {
      config: { access: 'viewer' },
      schema: {
        ...common,
        summary: 'Read a config, also a deleted one',
        params: idParamsSchema,
        response: { 200: configSchema, ...problemResponses('not_found') },
      },
    },
    async (request) => configView(await findBackupConfig(database.client, callerOrThrow(request).scope, request.params.id)),
  );
}

const changeDescription =
  'Fields that are left out keep their value. The entity cannot change. Other storage, or another encryption choice, means ' +
  'another repository for backups to come; those that exist stay where they are. A password for the source goes with its server ' +
  'and user: when they change it has to be sent again. Credentials for a storage go with its server, account and whom it trusts. ' +
  'Options and credentials are those of the repository: its other configs have them too. With another label of workers, runs that ' +
  'wait move to its queue; what runs goes on where it is.';

function addConfigCreation(routes: Routes, { config: settings, database, queues }: ServerDeps): void {
  routes.post(
    '/configs',
    {
      config: { access: 'operator' },
      preValidation: async (request) => refuseUnbuiltKinds(request.body),
      schema: {
        ...common,
        summary: 'Add a config',
        body: createSchema,
        response: { 201: configSchema, ...problemResponses(...bodyProblems) },
      },
    },
    async (request, reply) => {
      const { body } = request;
      checkConfig({ ...body, encryptionKey: body.encryptionKey, sourcePassword: body.sourcePassword }, settings);
      checkOwnDatabase(body, body.businessEntityId, body);
      const sourcePassword = passwordFor(body.source, body.sourcePassword ?? null);
      const partPasswords = partPasswordsFor(null, body.source, body.sourcePasswords);
      const input = { ...body, sourcePassword, partPasswords, ...storagePlace(body.storageOptions, body.storageCredentials, settings) };
      const { scope } = callerOrThrow(request);
      const { row, rerouted } = await inTransaction(database, async (tx) => {
        await refusePlace(tx, input);
        const base = await lockBase(tx, input.businessEntityId, input.source);
        const created = await namingCredentials(() => createBackupConfig(tx, scope, input, settings.masterKey));
        refuseOtherRepository(created, base);
        return { row: created, rerouted: await rerouteRuns(tx, { backupConfigId: created.id, repositoryIds: [created.repositoryId] }) };
      });
      await moveRuns(queues, request.log, rerouted);
      await syncScheduler(queues, request.log, row);
      return reply.code(201).send(configView(row));
    },
  );
}

function addConfigChanges(routes: Routes, { config: settings, database, queues }: ServerDeps): void {
  routes.put(
    '/configs/:id',
    {
      config: { access: 'operator' },
      preValidation: async (request) => refuseUnbuiltKinds(request.body),
      schema: {
        ...common,
        summary: 'Change a config',
        description: changeDescription,
        params: idParamsSchema,
        body: updateSchema,
        response: { 200: configSchema, ...problemResponses(...bodyProblems) },
      },
    },
    async (request) => {
      const { id } = request.params;
      const { body } = request;
      const { scope } = callerOrThrow(request);
      const { row, rerouted } = await inTransaction(database, async (tx) => {
        const before = await findBackupConfig(tx, scope, id);
        const input = merged(before, body);
        // What an adoption found elsewhere can be kept in order without being backed up from here.
        checkConfig(input, settings, { readsSource: body.source !== undefined || input.isActive });
        checkOwnDatabase(input, before.businessEntityId, body);
        const passwords = keptPasswords(sourceOptionsSchema.parse(before.source), input);
        const changed = { ...input, ...passwords, ...storagePlace(input.storageOptions, body.storageCredentials, settings) };
        await refusePlace(tx, { ...changed, businessEntityId: before.businessEntityId });
        const base = await lockBase(tx, before.businessEntityId, input.source);
        const updated = await namingCredentials(() => updateBackupConfig(tx, scope, id, changed, settings.masterKey));
        refuseOtherRepository(updated, base);
        await refuseLossOfBase(tx, before, updated);
        const repositoryIds = [before.repositoryId, updated.repositoryId];
        return { row: updated, rerouted: await rerouteRuns(tx, { backupConfigId: id, repositoryIds }) };
      });
      await moveRuns(queues, request.log, rerouted);
      await syncScheduler(queues, request.log, row);
      return configView(row);
    },
  );
}

function addConfigDeletion(routes: Routes, { database, queues, now }: ServerDeps): void {
  routes.delete(
    '/configs/:id',
    {
      config: { access: 'operator' },
      schema: {
        ...common,
        summary: 'Delete a config; its jobs and backups stay',
        description: 'One that others build on is deleted after them.',
        params: idParamsSchema,
        response: { 204: noContentSchema, ...problemResponses('not_found', 'conflict') },
      },
    },
    async (request, reply) => {
      const { id } = request.params;
      const deletedAt = now();
      const { scope } = callerOrThrow(request);
      const rerouted = await inTransaction(database, async (tx) => {
        const { repositoryId } = await findBackupConfig(tx, scope, id);
        await deleteBackupConfig(tx, scope, id, deletedAt);
        await refuseDeletionOfBase(tx, id);
        return rerouteRuns(tx, { backupConfigId: id, repositoryIds: [repositoryId] });
      });
      await moveRuns(queues, request.log, rerouted);
      await syncScheduler(queues, request.log, { id, schedule: null, timeZone: 'UTC', isActive: false, deletedAt });
      return reply.code(204).send();
    },
  );
}

function passwordFor(source: SourceOptions, password: string | null) {
  const place = passwordPlace(source);
  return place !== null && password !== null ? { place, password } : null;
}

/** What is to be sealed for the source, and what stays. Code: request_invalid. */
function keptPasswords(before: SourceOptions, after: GivenPasswords) {
  const sourcePassword = keptPassword(before, after.source, after.sourcePassword);
  return { sourcePassword, partPasswords: partPasswordsFor(before, after.source, after.sourcePasswords) };
}

interface GivenPasswords {
  readonly source: SourceOptions;
  readonly sourcePassword?: string | null | undefined;
  readonly sourcePasswords?: GivenPartPasswords | undefined;
}

/** Undefined keeps the one that is sealed. One that was given for a server is not sent to another because somebody changed its name. */
function keptPassword(before: SourceOptions, after: SourceOptions, given: string | null | undefined) {
  const place = passwordPlace(after);
  if (given !== undefined || place === null) return passwordFor(after, given ?? null);
  if (passwordPlace(before) === place) return undefined;
  throw fieldError('request_invalid', [
    { field: 'sourcePassword', message: 'is missing; send it for this server and user, or null when they need none' },
  ]);
}

function merged(before: BackupConfigRow, { businessEntityId, ...changes }: z.output<typeof updateSchema>) {
  if (businessEntityId !== undefined && businessEntityId !== before.businessEntityId) {
    throw fieldError('request_invalid', [
      { field: 'businessEntityId', message: 'cannot change; add a config to the other entity instead' },
    ]);
  }
  const {
    name,
    backupType,
    schedule,
    timeZone,
    retentionDays,
    compressionEnabled,
    workerLabel,
    encryptionEnabled,
    storageLocation,
    isActive,
  } = before;
  return {
    name,
    backupType,
    schedule,
    timeZone,
    retentionDays,
    compressionEnabled,
    workerLabel,
    encryptionEnabled,
    storageLocation,
    isActive,
    source: sourceOptionsSchema.parse(before.source),
    storageOptions: storageOptionsSchema.parse(before.storageOptions),
    options: backupOptionsSchema.parse(before.options),
    encryptionKey: changes.encryptionKey,
    sourcePassword: changes.sourcePassword,
    sourcePasswords: changes.sourcePasswords,
    ...givenFields(changes),
  };
}
