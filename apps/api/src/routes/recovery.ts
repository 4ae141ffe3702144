import { z } from 'zod';
import { createRecoveryJob, findRecoveryJob, listRecoveryJobs, type RecoveryJobRow } from '@holdfast/database/recovery-jobs';
import type { JsonObject } from '@holdfast/database/json-object';
import { startRunIn } from '@holdfast/database/runs';
import { isHoldfastError } from '@holdfast/errors/holdfast-error';
import { recoveryTargetOf } from '@holdfast/policy/recovery-request';
import { connectionPlace, databasePasswordSchema } from '@holdfast/sources/postgresql/connection-options';
import {
  databaseTargetSchema,
  logWindowSchema,
  pointInTimeSchema,
  sqliteTargetSchema,
  recoveryOptionsSchema,
  serverTargetSchema,
  tablespacesSchema,
  type DatabaseTarget,
  type ServerTarget,
} from '@holdfast/sources/recovery-options';
import { absolutePathSchema } from '@holdfast/sources/source-options/path-fields';
import { cancelJob } from '../cancel-job.ts';
import { checkDatabaseHost, checkTarget } from '../allowed-places.ts';
import { recoveryTypes } from '../check-config.ts';
import { checkAgainstBackup } from '../check-recovery.ts';
import { callerOrThrow } from '../plugins/authentication.ts';
import { fieldError } from '../problem.ts';
import { checkSelection, checkWindow, fileField, filePlace, type FileAim } from '../recovery-aim.ts';
import { rowsTarget } from '../rows-recovery.ts';
import { givenFields } from '../schemas/given-fields.ts';
import { idempotencyHeadersSchema, idParamsSchema, idSchema, pageSchema } from '../schemas/primitives.ts';
import { recoveryOptionsView } from '../schemas/recovery-options-view.ts';
import { recoveryMetadataSchema } from '../schemas/recovery-summary.ts';
import { problemResponses } from '../schemas/responses.ts';
import { filterAndPage, runListQuerySchema } from '../schemas/run-list.ts';
import { count, runView, runViewShape } from '../schemas/run-view.ts';
import { workerLabelSchema } from '../schemas/worker-label.ts';
import { sqlitePlace } from '../sqlite-place.ts';
import type { Routes, ServerDeps } from '../server-deps.ts';
import { checkServerTarget, serverLocation } from '../server-target.ts';
import { submitJob } from '../submit-job.ts';
import { addWaiting, withWaiting } from '../waiting-for.ts';

const recoverySchema = z
  .object({
    ...runViewShape,
    backupJobId: z.string(),
    fromRepositoryId: z.string().nullable().describe("The repository with the copy that is read; null for the backup's own"),
    recoveryType: z.enum(recoveryTypes),
    targetLocation: z
      .string()
      .describe('A folder, postgresql:// or mysql://user@host:port/database, redis://user@host:port, or holdfast:rows'),
    options: recoveryOptionsView,
    recoveredRecords: z
      .number()
      .nullable()
      .describe('Files, links and folders that were recovered, or rows as the restored database counts them'),
    metadata: recoveryMetadataSchema,
  })
  .meta({ id: 'RecoveryJob' });

function recoveryView(row: RecoveryJobRow) {
  const { backupJobId, fromRepositoryId, recoveryType, targetLocation, options, metadata } = row;
  const what = { backupJobId, fromRepositoryId, recoveryType, targetLocation, options, metadata: metadataOf(metadata) };
  return { ...runView(row), ...what, recoveredRecords: count(row.recoveredRecords) };
}

/** A run that has not ended has none, or a note for its next attempt. */
function metadataOf(metadata: unknown): z.output<typeof recoveryMetadataSchema> {
  return recoveryMetadataSchema.parse(metadata);
}

const { shape } = recoveryOptionsSchema;

const createSchema = z.strictObject({
  backupJobId: idSchema,
  fromRepositoryId: idSchema
    .optional()
    .describe('A repository that holds a copy of the backup, when its own is lost or far away; GET /jobs/:id/copies lists them'),
  recoveryType: z.enum(recoveryTypes),
  targetLocation: absolutePathSchema.optional().describe('Folder inside the target roots, as the worker sees it'),
  toOriginal: shape.toOriginal.describe('Instead of a folder: where the files came from, as far as that is inside the target roots'),
  targetDatabase: databaseTargetSchema.optional().describe('Instead of a folder, for a logical backup of a PostgreSQL server'),
  targetSqlite: sqliteTargetSchema
    .optional()
    .describe(
      'Instead of a folder, for a SQLite part of an application: a database that may be in use, and is replaced in one transaction',
    ),
  targetServer: serverTargetSchema
    .optional()
    .describe('Instead of a folder, for a part of an application that is a server of MariaDB, MySQL or Redis'),
  targetPassword: databasePasswordSchema
    .optional()
    .describe('Password for the server of targetDatabase or targetServer. It is sealed on arrival and never returned'),
  paths: shape.paths.describe('What to recover, with all that is below; for selective only. Paths are those in the snapshot'),
  globs: shape.globs.describe(
    'Also what matches one of these patterns, which are as excludes of a config: `*.txt`, `/srv/www/**/conf`; for selective only',
  ),
  excludes: shape.excludes.describe('What to leave out of that, or of everything, by patterns; for selective only'),
  stripPrefix: shape.stripPrefix.describe('A folder of the snapshot: only what is in it is recovered, and without that part of its path'),
  stripComponents: shape.stripComponents.describe('How many names are taken off the front of each path; two that would meet are refused'),
  prefix: shape.prefix.describe('A folder below targetLocation that everything is put into, such as `old/www`'),
  overwrite: shape.overwrite.describe(
    'What becomes of files that are there: always replaces them, if-changed those that differ in type, size or time, if-newer those older ' +
      'than the backup, never none. false: the folder must be empty. true: always',
  ),
  deletesExtra: shape.deletesExtra.describe(
    'Deletes what the backup does not have from folders that are recovered as a whole, but for what is excluded; never of a target root',
  ),
  owners: shape.owners.describe(
    'Whose files become: keep the numbers of the backup, none for the worker’s own user, or others, by name or number: ' +
      '`{ "users": { "ann": "bob", "1001": 2001 } }`',
  ),
  dryRun: shape.dryRun.describe('Only tells what would be done, in the summary of metadata, and changes nothing'),
  pointInTime: pointInTimeSchema.optional().describe('Where to stop, in the chain of a physical backup; for point_in_time only'),
  start: z
    .boolean()
    .default(false)
    .describe('For a physical backup: recovers with a server of the worker, promotes, counts rows, and ends it again'),
  tablespaces: tablespacesSchema
    .optional()
    .describe('For a physical backup: where tablespaces go, by OID; below the data folder when left out'),
  workerLabel: workerLabelSchema
    .nullable()
    .optional()
    .describe("The label that the worker has to carry, for a target at another host; null for any. The config's when left out"),
  window: logWindowSchema
    .optional()
    .describe(
      'For a backup of logs, instead of paths: what was written in this window, of all snapshots of the config, one file a log with each ' +
        'byte once, also of files that were rotated, compressed and removed. It is as fine as the runs are: whole runs are taken',
    ),
  rows: shape.rows.describe('Instead of files: Holdfast’s own rows, told by diff or made anew by apply; see metadata.rows'),
  execute: z.boolean().default(true).describe('false: the job waits until it is executed'),
});

const common = { tags: ['recovery'], security: [{ bearer: [] }] };

export function addRecoveryRoutes(routes: Routes, deps: ServerDeps): void {
  addRecoveryStarts(routes, deps);
  addRecoveryExecution(routes, deps);
  const { database } = deps;

  routes.get(
    '/recovery',
    {
      config: { access: 'viewer' },
      schema: {
        ...common,
        summary: 'List recovery jobs, newest first',
        querystring: runListQuerySchema.extend({ type: z.enum(recoveryTypes).optional(), backupJobId: idSchema.optional() }),
        response: { 200: pageSchema(recoverySchema), ...problemResponses('request_invalid') },
      },
    },
    async (request) => {
      const { filter, page } = filterAndPage(request.query);
      const { items, nextCursor } = await listRecoveryJobs(database.client, callerOrThrow(request).scope, filter, page);
      return { items: await addWaiting(database.client, items.map(recoveryView)), nextCursor };
    },
  );

  routes.get(
    '/recovery/:id',
    {
      config: { access: 'viewer' },
      schema: {
        ...common,
        summary: 'Read a recovery job',
        params: idParamsSchema,
        response: { 200: recoverySchema, ...problemResponses('not_found') },
      },
    },
    async (request) =>
      withWaiting(database.client, recoveryView(await findRecoveryJob(database.client, callerOrThrow(request).scope, request.params.id))),
  );

  routes.post(
    '/recovery/:id/cancel',
    {
      config: { access: 'operator' },
      schema: {
        ...common,
        summary: 'Cancel a recovery job',
        params: idParamsSchema,
        body: z.strictObject({}),
        response: {
          200: recoverySchema.describe('It is cancelled'),
          202: recoverySchema.describe('It runs; its worker was asked to stop'),
          ...problemResponses('request_invalid', 'not_found', 'run_already_finished'),
        },
      },
    },
    async (request, reply) => {
      const { scope } = callerOrThrow(request);
      const run = await findRecoveryJob(database.client, scope, request.params.id);
      const { asked } = await cancelJob(deps, request.log, 'recovery', run);
      return reply
        .code(asked ? 202 : 200)
        .send(await withWaiting(database.client, recoveryView(await findRecoveryJob(database.client, scope, run.id))));
    },
  );
}

function addRecoveryStarts(routes: Routes, deps: ServerDeps): void {
  routes.post(
    '/recovery',
    {
      config: { access: 'operator' },
      schema: {
        ...common,
        summary: 'Recover a backup',
        description:
          'A physical backup of PostgreSQL, or one of WAL or blocks, becomes a data folder at targetLocation, with WAL in a folder ' +
          'beside it whose name ends in -wal: full recovers what the backup itself holds, point_in_time anything that the chain of ' +
          'it covers (see GET /configs/:id/recovery-window). What is not covered is refused.',
        headers: idempotencyHeadersSchema,
        body: createSchema,
        response: {
          201: recoverySchema.describe('Made; it waits for POST /recovery/:id/execute'),
          202: recoverySchema.describe('Accepted'),
          ...problemResponses(
            ...(['request_invalid', 'not_found', 'run_not_finished', 'backup_not_usable'] as const),
            ...(['postgresql_target_uncovered', 'postgresql_chain_broken'] as const),
            ...(['idempotency_key_reused', 'type_not_supported', 'path_outside_roots', 'postgresql_host_not_allowed'] as const),
          ),
        },
      },
    },
    async (request, reply) => {
      const { body } = request;
      const target = targetOf(body, deps.config);
      const { scope } = callerOrThrow(request);
      const { backupJobId, fromRepositoryId, recoveryType, workerLabel, execute } = body;
      const input = { backupJobId, fromRepositoryId, recoveryType, workerLabel, execute, ...target };
      const password = body.targetPassword;
      const targetPassword = password === undefined ? undefined : { password, masterKey: deps.config.masterKey };
      const row = await submitJob(deps, request, {
        kind: 'recovery',
        async create(tx) {
          await checkAgainstBackup(tx, scope, body.backupJobId, body);
          return createRecoveryJob(tx, scope, { ...input, targetPassword });
        },
        find: (tx, id) => findRecoveryJob(tx, scope, id),
      });
      return reply.code(body.execute ? 202 : 201).send(await withWaiting(deps.database.client, recoveryView(row)));
    },
  );
}

function addRecoveryExecution(routes: Routes, deps: ServerDeps): void {
  routes.post(
    '/recovery/:id/execute',
    {
      config: { access: 'operator' },
      schema: {
        ...common,
        summary: 'Start a recovery job that waits',
        params: idParamsSchema,
        headers: idempotencyHeadersSchema,
        body: z.strictObject({}),
        response: {
          202: recoverySchema.describe('Accepted, or already on its way'),
          ...problemResponses('request_invalid', 'not_found', 'run_already_finished', 'conflict', 'idempotency_key_reused'),
        },
      },
    },
    async (request, reply) => {
      const { scope } = callerOrThrow(request);
      const row = await submitJob<RecoveryJobRow>(deps, request, {
        kind: 'recovery',
        async create(tx) {
          const { id } = await findRecoveryJob(tx, scope, request.params.id);
          await startRunIn(tx, 'recovery', id);
          return findRecoveryJob(tx, scope, id);
        },
        find: (tx, id) => findRecoveryJob(tx, scope, id),
      });
      return reply.code(202).send(await withWaiting(deps.database.client, recoveryView(row)));
    },
  );
}

type RecoveryBody = z.output<typeof createSchema>;

/** What the row says of the target. Codes: request_invalid, path_outside_roots, postgresql_host_not_allowed. */
function targetOf(body: RecoveryBody, config: ServerDeps['config']): { targetLocation: string; options: JsonObject } {
  const { recoveryType, targetLocation, targetDatabase, targetPassword, overwrite, pointInTime, start, tablespaces } = body;
  if (body.rows !== undefined) return rowsTarget({ ...body, rows: body.rows });
  checkPointInTime(body);
  if (body.targetServer !== undefined) return serverPlace(body, body.targetServer, config);
  if (targetDatabase !== undefined) {
    if (targetLocation !== undefined) {
      throw fieldError('request_invalid', [{ field: 'targetLocation', message: 'is given beside targetDatabase; leave one of them out' }]);
    }
    if (body.targetSqlite !== undefined) {
      throw fieldError('request_invalid', [{ field: 'targetSqlite', message: 'is given beside targetDatabase; leave one of them out' }]);
    }
    checkDatabaseTarget(recoveryType, targetDatabase, body);
    checkDatabaseHost('targetDatabase.connection.host', targetDatabase.connection, config);
    const { connection, database } = targetDatabase;
    const location = `postgresql://${connectionPlace(connection)}/${encodeURIComponent(database)}`;
    return { targetLocation: location, options: { overwrite, database: targetDatabase } };
  }
  if (body.targetSqlite !== undefined) return sqlitePlace(body, body.targetSqlite, config);
  if (targetPassword !== undefined) {
    throw fieldError('request_invalid', [{ field: 'targetPassword', message: 'is for a targetDatabase or targetServer; leave it out' }]);
  }
  if (body.window === undefined) checkSelection(recoveryType, body);
  else checkWindow(recoveryType, body);
  const place = filePlace(body, targetLocation, config);
  for (const [oid, path] of Object.entries(tablespaces ?? {})) checkTarget(path, config, `tablespaces.${oid}`);
  const options = givenFields({ ...fileOptions(body), pointInTime, start: start || undefined, tablespaces, window: body.window });
  return { targetLocation: place, options };
}

/** Codes: request_invalid, mysql_ and redis_host_not_allowed. */
function serverPlace(
  body: RecoveryBody,
  target: ServerTarget,
  config: ServerDeps['config'],
): { targetLocation: string; options: JsonObject } {
  for (const field of ['targetLocation', 'targetDatabase', 'targetSqlite', 'window'] as const) {
    if (body[field] !== undefined) {
      throw fieldError('request_invalid', [{ field, message: 'is given beside targetServer; leave one of them out' }]);
    }
  }
  checkNotOfFiles(body, 'targetServer');
  checkServerTarget(body.recoveryType, target, config);
  return { targetLocation: serverLocation(target), options: { overwrite: body.overwrite, server: target } };
}

/** What was asked for beside what is taken for granted. */
function fileOptions({ paths, globs, excludes, overwrite, owners, stripPrefix, prefix, ...given }: RecoveryBody) {
  const { toOriginal, stripComponents, deletesExtra, dryRun } = given;
  return {
    paths,
    globs,
    excludes,
    overwrite,
    stripPrefix,
    prefix,
    toOriginal: toOriginal || undefined,
    stripComponents: stripComponents === 0 ? undefined : stripComponents,
    deletesExtra: deletesExtra || undefined,
    owners: owners === 'keep' ? undefined : owners,
    dryRun: dryRun || undefined,
  };
}

/** Codes: request_invalid. */
function checkPointInTime({ recoveryType, pointInTime, targetDatabase, targetServer }: RecoveryBody): void {
  if (recoveryType === 'point_in_time' && (targetDatabase ?? targetServer) !== undefined) {
    const field = targetDatabase === undefined ? 'targetServer' : 'targetDatabase';
    throw fieldError('request_invalid', [{ field, message: 'is for logical backups, which are of one moment' }]);
  }
  if ((recoveryType === 'point_in_time') === (pointInTime !== undefined)) {
    if (pointInTime !== undefined) readTarget(pointInTime);
    return;
  }
  const message =
    pointInTime === undefined ? 'is missing; name a time, an LSN, a restore point or latest' : 'is for point_in_time; leave it out';
  throw fieldError('request_invalid', [{ field: 'pointInTime', message }]);
}

/** What no pattern tells: whether it is a time, or an LSN. */
function readTarget(pointInTime: NonNullable<RecoveryBody['pointInTime']>): void {
  try {
    recoveryTargetOf(pointInTime);
  } catch (error) {
    if (!isHoldfastError(error, 'request_invalid')) throw error;
    const field = pointInTime.time === undefined ? 'pointInTime.lsn' : 'pointInTime.time';
    throw fieldError('request_invalid', [{ field, message: `${error.message}; ${error.hint}` }]);
  }
}

/** What is said of files beside a target that is none. Code: request_invalid. */
function checkNotOfFiles(aim: FileAim, target: 'targetDatabase' | 'targetServer'): void {
  const ofFiles = (['paths', 'globs', 'excludes'] as const).find((name) => aim[name] !== undefined);
  if (ofFiles !== undefined) {
    throw fieldError('request_invalid', [{ field: ofFiles, message: `is for files; say in ${target} what is recovered` }]);
  }
  const other = fileField(aim);
  if (other !== undefined) {
    const message = other === 'overwrite' ? `must be true or false for a ${target}: policies are for files` : 'is for files; leave it out';
    throw fieldError('request_invalid', [{ field: other, message }]);
  }
}

function checkDatabaseTarget(recoveryType: string, { schemas, tables, globals }: DatabaseTarget, aim: FileAim): void {
  checkNotOfFiles(aim, 'targetDatabase');
  const isChosen = schemas !== undefined || tables !== undefined;
  if (recoveryType === 'selective' && !isChosen) {
    throw fieldError('request_invalid', [{ field: 'targetDatabase.tables', message: 'is missing; name tables or schemas to recover' }]);
  }
  if (recoveryType !== 'selective' && isChosen) {
    const field = tables === undefined ? 'targetDatabase.schemas' : 'targetDatabase.tables';
    throw fieldError('request_invalid', [{ field, message: 'is for a selective recovery; leave it out, or ask for selective' }]);
  }
  if (recoveryType === 'selective' && globals) {
    throw fieldError('request_invalid', [{ field: 'targetDatabase.globals', message: 'is for a full recovery; leave it out' }]);
  }
}
