import { z } from 'zod';
import { findBackupConfig } from '@holdfast/database/backup-configs';
import { findBaseConfigId, listChainBackups } from '@holdfast/database/chain-backups';
import { knownTimelines } from '@holdfast/policy/recovery-chains';
import { chainsOf, factsOf, type BackupFacts } from '@holdfast/policy/recovery-facts';
import { formatRecoveryTime } from '@holdfast/policy/recovery-time';
import { recoveryWindows, type RecoveryPart } from '@holdfast/policy/recovery-window';
import { formatLsn } from '@holdfast/sources/postgresql/lsn';
import { callerOrThrow } from '../plugins/authentication.ts';
import { fieldError } from '../problem.ts';
import { idParamsSchema } from '../schemas/primitives.ts';
import { problemResponses } from '../schemas/responses.ts';
import type { Routes, ServerDeps } from '../server-deps.ts';

const partShape = {
  from: z.string().describe('Earliest time, UTC with microseconds'),
  to: z.string().describe('Latest time'),
  fromLsn: z.string().describe('The same as places in WAL, such as 16/B374D848'),
  toLsn: z.string(),
};
const partSchema = z.object(partShape);

const windowSchema = z
  .object({
    baseConfigId: z.string().describe('The config of the base backups that all others of the chain build on'),
    systemIdentifier: z.string().nullable().describe('Of the cluster that the newest base backup is of; null when there is none'),
    windows: z
      .array(
        z.object({
          timeline: z.number().int(),
          ...partShape,
          parts: z.array(partSchema).describe('Each can be recovered to at any time and place in it'),
          gaps: z.array(partSchema).describe('What lies between two parts: WAL is missing'),
        }),
      )
      .describe('One a timeline, what came before it on its ancestors included'),
    timelines: z.array(z.number().int()).describe('All that something is kept of'),
    restorePoints: z.array(z.object({ name: z.string(), timeline: z.number().int(), lsn: z.string() })),
    leftOut: z
      .array(z.object({ backupJobId: z.string(), systemIdentifier: z.string() }))
      .describe('Backups of another cluster than the newest base backup; each can be recovered by itself'),
  })
  .meta({ id: 'RecoveryWindow' });

export function addRecoveryWindowRoute(routes: Routes, { database }: ServerDeps): void {
  routes.get(
    '/configs/:id/recovery-window',
    {
      config: { access: 'viewer' },
      schema: {
        tags: ['configs'],
        security: [{ bearer: [] }],
        summary: 'Read to when a PostgreSQL server can be recovered',
        description: 'Of a config with physical backups, or of one whose WAL or block backups build on it: both give the same.',
        params: idParamsSchema,
        response: { 200: windowSchema, ...problemResponses('not_found', 'type_not_supported') },
      },
    },
    async (request) => {
      const { scope } = callerOrThrow(request);
      const { source } = await findBackupConfig(database.client, scope, request.params.id);
      if (!isOfChain(source)) {
        throw fieldError('type_not_supported', [{ field: 'id', message: 'names a config without physical backups of PostgreSQL' }]);
      }
      const baseConfigId = await findBaseConfigId(database.client, scope, request.params.id);
      const backups = await listChainBackups(database.client, baseConfigId);
      return { baseConfigId, ...windowOf(backups.flatMap(({ jobId, metadata }) => asFacts(jobId, metadata))) };
    },
  );
}

function windowOf(backups: readonly BackupFacts[]) {
  const chains = chainsOf(backups);
  const systemIdentifier = chains?.systemIdentifier ?? null;
  const leftOut = backups
    .filter(({ facts }) => facts.systemIdentifier !== systemIdentifier)
    .map(({ jobId, facts }) => ({ backupJobId: jobId, systemIdentifier: facts.systemIdentifier }));
  if (chains === null) return { systemIdentifier, windows: [], timelines: [], restorePoints: [], leftOut };
  const windows = recoveryWindows(chains).map(({ timeline, parts, gaps, ...whole }) => ({
    timeline,
    ...partView(whole),
    parts: parts.map(partView),
    gaps: gaps.map(partView),
  }));
  const restorePoints = chains.restorePoints.map(({ name, timeline, lsn }) => ({ name, timeline, lsn: formatLsn(lsn) }));
  return { systemIdentifier, windows, timelines: knownTimelines(chains), restorePoints, leftOut };
}

function partView({ fromUs, toUs, fromLsn, toLsn }: RecoveryPart) {
  return { from: formatRecoveryTime(fromUs), to: formatRecoveryTime(toUs), fromLsn: formatLsn(fromLsn), toLsn: formatLsn(toLsn) };
}

function asFacts(jobId: string, metadata: unknown): BackupFacts[] {
  const facts = factsOf(metadata);
  return facts === null ? [] : [{ jobId, facts }];
}

/** Physical ones, and those that build on them. */
function isOfChain(source: unknown): boolean {
  const type: unknown = Reflect.get(Object(source), 'type');
  const method: unknown = Reflect.get(Object(source), 'method');
  return type === 'postgresql_wal' || (type === 'postgresql' && method === 'physical');
}
