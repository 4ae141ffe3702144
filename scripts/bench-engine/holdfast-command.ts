// The engine as a program, called as a worker calls it: local storage, file-system source and target, progress reported.
//   holdfast-command.ts version
//   holdfast-command.ts init REPOSITORY
//   holdfast-command.ts backup REPOSITORY FOLDER
//   holdfast-command.ts stream REPOSITORY < FILE
//   holdfast-command.ts check REPOSITORY
//   holdfast-command.ts restore REPOSITORY TARGET
// The password is in RESTIC_PASSWORD, for both. Exits 1 when anything was left out, damaged or not restored.
import { hostname, userInfo } from 'node:os';
import { openRepository, type Repository } from '../../libs/engine/src/repository.ts';
import { chooseParent, listSnapshots } from '../../libs/engine/src/snapshots.ts';
import { openLocalStorage } from '../../libs/storage/src/local/local-storage.ts';

const password = process.env['RESTIC_PASSWORD'] ?? '';
const owner = { hostname: hostname(), username: userInfo().username };
const [word = '', repositoryPath = '', folder = ''] = process.argv.slice(2);
const statCacheFolder = process.env['HOLDFAST_STAT_CACHE'];
// Worker and processor always listen; without a listener the engine need not count ahead.
const onProgress = (): void => {};

switch (word) {
  case 'version':
    break;
  case 'init':
    await make();
    break;
  case 'backup':
    await backUp();
    break;
  case 'stream':
    await using(await open(), backUpStream);
    break;
  case 'check':
    await checkAll();
    break;
  case 'restore':
    await restoreNewest();
    break;
  default:
    throw new Error(`no such word: ${word}`);
}

// Each word loads what it needs and no more, as a program of its own would.

async function make(): Promise<void> {
  const { createRepository } = await import('../../libs/engine/src/create-repository.ts');
  await using(await createRepository({ storage: await openLocalStorage({ path: repositoryPath }), password, ...owner }), async () => {});
}

async function open(): Promise<Repository> {
  return await openRepository({ storage: await openLocalStorage({ path: repositoryPath }), password });
}

async function using(repository: Repository, work: (repository: Repository) => Promise<void>): Promise<void> {
  try {
    await work(repository);
  } finally {
    await repository.close();
  }
}

async function backUp(): Promise<void> {
  const { openFileSystemSource } = await import('../../libs/sources/src/file-system-source.ts');
  const storage = await openLocalStorage({ path: repositoryPath });
  // The key is derived by another thread: meanwhile there is time for the source.
  const opening = openRepository({ storage, password });
  const source = await openFileSystemSource({ paths: [folder], roots: [folder] });
  const { archive } = await import('../../libs/engine/src/archiver.ts');
  const { openStatCache } = await import('../../libs/engine/src/stat-cache/stat-cache.ts');
  const cache =
    statCacheFolder === undefined
      ? undefined
      : openStatCache({ folder: statCacheFolder, location: storage.location, source, ...owner, meanwhile: opening });
  try {
    await using(await opening, async (repository) => {
      const parent = chooseParent(await listSnapshots(repository), { hostname: owner.hostname, paths: source.paths });
      const result = await archive({
        repository,
        source,
        ...(parent === undefined ? {} : { parent }),
        ...owner,
        ...(cache === undefined ? {} : { statCache: cache }),
        onProgress,
      });
      finish(result.skippedCount === 0 && result.warnings.length === 0, result);
    });
  } finally {
    cache?.close();
    await source.close();
  }
}

/** As a database is: a file that is made up, opened once and read in order. */
async function backUpStream(repository: Repository): Promise<void> {
  const { archive } = await import('../../libs/engine/src/archiver.ts');
  const { streamSource } = await import('./stream-source.ts');
  const result = await archive({ repository, source: streamSource(0), ...owner, onProgress });
  finish(result.skippedCount === 0 && result.warnings.length === 0, result);
}

async function checkAll(): Promise<void> {
  // The key is derived by another thread: meanwhile there is time for the modules and threads.
  const opening = open();
  const { check, warmCheck } = await import('../../libs/engine/src/checker.ts');
  const { openThreadPool } = await import('../../libs/engine/src/threads/thread-pool.ts');
  await using pool = openThreadPool();
  warmCheck(pool);
  await using(await opening, async (repository) => {
    // All of what restic does in `check --read-data`: the structure, and every byte.
    const result = await check({ repository, pool, level: 'full', onProgress });
    finish(result.findingCount === 0, result);
  });
}

async function restoreNewest(): Promise<void> {
  // As for a check.
  const opening = open();
  const { restore, warmRestore } = await import('../../libs/engine/src/restorer.ts');
  const { openThreadPool } = await import('../../libs/engine/src/threads/thread-pool.ts');
  await using pool = openThreadPool();
  warmRestore(pool);
  const { openFileSystemTarget } = await import('../../libs/sources/src/file-system-target.ts');
  await using(await opening, async (repository) => {
    const newest = (await listSnapshots(repository)).at(-1);
    if (newest === undefined) throw new Error('there is no snapshot');
    const target = openFileSystemTarget({ path: folder, roots: [folder], overwrite: false });
    const result = await restore({ repository, pool, snapshotId: newest.id, target, onProgress });
    finish(result.failedCount === 0 && result.warningCount === 0, result);
  });
}

function finish(ok: boolean, result: object): void {
  console.log(JSON.stringify(result, null, 1));
  if (!ok) process.exitCode = 1;
}
