import { basename, join } from 'node:path';
import { isHoldfastError } from '@holdfast/errors/holdfast-error';
import { invariant } from '@holdfast/errors/invariant';
import type { ApiClient } from '../api-client.ts';
import { configSchema, entitySchema, pageOf, type Config } from './api-answers.ts';
import type { StepOutcome, TourOptions } from './tour-context.ts';

export const demoEntity = 'demo';
const demoRetentionDays = 30;
/** The largest page: a tour's entity has a handful of configs. */
const pageLimit = 200;

/** The tenant of the tour: the one of an earlier tour, or a new one. */
export async function findOrCreateEntity(client: ApiClient): Promise<StepOutcome & { readonly entityId: string }> {
  try {
    const created = await client.post('/entities', { name: demoEntity }, entitySchema);
    return { entityId: created.id, amount: '', detail: `${demoEntity}, id ${created.id}` };
  } catch (error) {
    if (!isHoldfastError(error, 'conflict')) throw error;
  }
  const page = await client.get(`/entities?limit=${pageLimit}`, pageOf(entitySchema));
  const existing = page.items.find((entity) => entity.name === demoEntity);
  invariant(existing !== undefined, `there is an entity ${demoEntity}, but the list does not show it`);
  return { entityId: existing.id, amount: '', detail: `${demoEntity}, of an earlier tour, id ${existing.id}` };
}

/** Where this `up` keeps its state, and where one without HOLDFAST_STATE_DIR does: databases that are written to all the time. */
function stateFolders(options: TourOptions): string[] {
  return [...new Set([options.stateFolder, join(options.sourceFolder, '.holdfast')])];
}

/** What the tour leaves out, relative to the checkout; the same decision as the config's excludes, for the tour's own eyes. */
export function isLeftOut(options: TourOptions): (path: string) => boolean {
  const folders = stateFolders(options);
  return (path) => folders.includes(`${options.sourceFolder}/${path}`) || (!options.withNodeModules && basename(path) === 'node_modules');
}

/** The config that backs up this checkout: the one of an earlier tour when it says the same, or a new one. */
export async function findOrCreateConfig(options: TourOptions, entityId: string): Promise<StepOutcome & { readonly config: Config }> {
  const source = {
    type: 'file_system',
    paths: [options.sourceFolder],
    excludes: [...stateFolders(options), ...(options.withNodeModules ? [] : ['node_modules'])],
  };
  const storageOptions = { type: 'local', path: options.repositoryFolder };
  const list = await options.client.get(`/configs?entityId=${entityId}&limit=${pageLimit}`, pageOf(configSchema));
  const same = list.items.find(
    (config) => config.isActive && isSameJson(config.source, source) && isSameJson(config.storageOptions, storageOptions),
  );
  const config =
    same ?? (await createConfig(options.client, { entityId, source, storageOptions, withNodeModules: options.withNodeModules }));
  const page = await options.client.get(`/configs?entityId=${entityId}`, pageOf(configSchema));
  invariant(
    page.items.some((item) => item.id === config.id),
    `config ${config.id} is not in the list of its entity`,
  );
  const left = options.withNodeModules ? 'all of it but its own state' : 'without node_modules, which npm can bring back';
  return {
    config,
    amount: `${page.items.length} listed`,
    detail: `${options.sourceFolder}, ${left}`,
  };
}

function createConfig(
  client: ApiClient,
  wanted: { entityId: string; source: unknown; storageOptions: unknown; withNodeModules: boolean },
): Promise<Config> {
  const body = {
    businessEntityId: wanted.entityId,
    name: wanted.withNodeModules ? 'this checkout with node_modules' : 'this checkout',
    backupType: 'file_system',
    source: wanted.source,
    schedule: '30 2 * * *',
    timeZone: 'UTC',
    retentionDays: demoRetentionDays,
    compressionEnabled: true,
    encryptionEnabled: true,
    storageLocation: 'local',
    storageOptions: wanted.storageOptions,
  };
  return client.post('/configs', body, configSchema);
}

function isSameJson(left: unknown, right: unknown): boolean {
  return canonical(left) === canonical(right);
}

function canonical(value: unknown): string {
  return JSON.stringify(value, (_key, part: unknown) =>
    typeof part === 'object' && part !== null && !Array.isArray(part)
      ? Object.fromEntries(Object.entries(part).toSorted(([left], [right]) => (left < right ? -1 : 1)))
      : part,
  );
}
