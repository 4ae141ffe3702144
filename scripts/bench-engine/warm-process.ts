// node warm-process.ts FOLDER ENTITIES CONCURRENCY   backs up every entity of FOLDER/entities into its own repository of FOLDER/repositories,
// in one process, as a worker that has been running for a while; then one file of each changes, and all are backed up again.
// Writes FOLDER/warm.json: { firstMs, changedMs }.
import { writeFileSync } from 'node:fs';
import { hostname, userInfo } from 'node:os';
import { join } from 'node:path';
import { archive } from '../../libs/engine/src/archiver.ts';
import { makeRepository, openRepository, type Repository } from '../../libs/engine/src/repository.ts';
import { forEachConcurrently } from '../../libs/engine/src/slots.ts';
import { chooseParent, listSnapshots } from '../../libs/engine/src/snapshots.ts';
import { openFileSystemSource } from '../../libs/sources/src/file-system-source.ts';
import { openLocalStorage } from '../../libs/storage/src/local/local-storage.ts';
import { changeEntity, entityName } from './entity-folders.ts';

const [folder = '', entityCount = '', concurrency = ''] = process.argv.slice(2);
const owner = { hostname: hostname(), username: userInfo().username };
const entities = Array.from({ length: Number(entityCount) }, (_, entity) => entity);
/** These come before, unmeasured: a worker's code has been run before. */
const warmUpCount = Math.ceil(entities.length / 20);

const repositories = await openAll();
await backUpAll(entities.slice(-warmUpCount));
const measured = entities.slice(0, -warmUpCount);
const firstMs = await timed(() => backUpAll(measured));
for (const entity of measured) changeEntity(join(folder, 'entities'), entity);
const changedMs = await timed(() => backUpAll(measured));
for (const repository of repositories) await repository.close();
writeFileSync(join(folder, 'warm.json'), JSON.stringify({ backupCount: measured.length, firstMs, changedMs }));

/** All are copies of one repository, so one derivation opens them all: the keys are what a warm worker keeps. */
async function openAll(): Promise<Repository[]> {
  const storageOf = (entity: number) => openLocalStorage({ path: join(folder, 'repositories', entityName(entity)) });
  const { id, masterKeys, chunkerPolynomial } = await openRepository({
    storage: await storageOf(0),
    password: process.env['RESTIC_PASSWORD'] ?? '',
  });
  const config = { version: 2, id, chunkerPolynomial } as const;
  return await Promise.all(entities.map(async (entity) => makeRepository(await storageOf(entity), masterKeys, config)));
}

async function backUpAll(wanted: readonly number[]): Promise<void> {
  await forEachConcurrently(wanted, Number(concurrency), async (entity) => {
    const repository = repositories[entity];
    if (repository !== undefined) await backUp(repository, join(folder, 'entities', entityName(entity)));
  });
}

async function backUp(repository: Repository, path: string): Promise<void> {
  const source = await openFileSystemSource({ paths: [path], roots: [path] });
  try {
    const parent = chooseParent(await listSnapshots(repository), { hostname: owner.hostname, paths: source.paths });
    const { skippedCount } = await archive({
      repository,
      source,
      ...(parent === undefined ? {} : { parent }),
      ...owner,
      onProgress: () => {},
    });
    if (skippedCount > 0) throw new Error(`${path}: ${skippedCount} left out`);
  } finally {
    await source.close();
  }
}

async function timed(work: () => Promise<void>): Promise<number> {
  const startedAtMs = performance.now();
  await work();
  return performance.now() - startedAtMs;
}
