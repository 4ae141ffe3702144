// Storages at servers, and the engine on them, as a program: called as a worker's processors call them.
//   holdfast-storage-command.ts put PLACE FOLDER CONNECTIONS    every file below FOLDER becomes an object under its path there
//   holdfast-storage-command.ts get PLACE FOLDER CONNECTIONS    every pack becomes a file below FOLDER
//   holdfast-storage-command.ts backup PLACE FOLDER
//   holdfast-storage-command.ts restore PLACE TARGET            the newest snapshot
// PLACE is a file with an OurPlace in JSON; the repository's password is in RESTIC_PASSWORD. Exits 1 when anything was left out or not
// restored.
import { hostname, userInfo } from 'node:os';
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { basename, dirname, join, relative } from 'node:path';
import { PartBuffers } from '../../libs/engine/src/part-buffers.ts';
import type { Repository } from '../../libs/engine/src/repository.ts';
import { forEachConcurrently } from '../../libs/engine/src/slots.ts';
import { openPlace } from './open-place.ts';
import type { OurPlace } from './storage-place.ts';

const password = process.env['RESTIC_PASSWORD'] ?? '';
const owner = { hostname: hostname(), username: userInfo().username };
const statCacheFolder = process.env['HOLDFAST_STAT_CACHE'] ?? '';
const [word = '', placePath = '', folder = '', connections = ''] = process.argv.slice(2);
// Worker and processor always listen.
const onProgress = (): void => {};

const storage = await openPlace(JSON.parse(await readFile(placePath, 'utf8')) as OurPlace);
switch (word) {
  case 'put':
    await putAll();
    break;
  case 'get':
    await getAll();
    break;
  case 'backup':
    await backUp();
    break;
  case 'restore':
    await restoreNewest();
    break;
  default:
    throw new Error(`no such word: ${word}`);
}

async function putAll(): Promise<void> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const paths = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
  // Called as the engine does: it has made the hash that a pack is named by.
  await forEachConcurrently(paths, Number(connections), async (path) =>
    storage.put(relative(folder, path), await readFile(path), { sha256: basename(path) }),
  );
  await storage.close();
}

async function getAll(): Promise<void> {
  const objects = await Array.fromAsync(storage.list('data/'));
  // Into memory that is used again, as a restore reads its parts.
  const buffers = new PartBuffers(Math.max(0, ...objects.map(({ sizeBytes }) => sizeBytes)));
  await forEachConcurrently(objects, Number(connections), async ({ name, sizeBytes }) => {
    const into = buffers.take(sizeBytes);
    const bytes = await storage.get(name, { range: { offsetBytes: 0, lengthBytes: sizeBytes }, into });
    await mkdir(dirname(join(folder, name)), { recursive: true });
    await writeFile(join(folder, name), bytes);
    buffers.giveBack(into);
  });
  await storage.close();
}

// Each word loads what it needs and no more, as a program of its own would; meanwhile another thread derives the key.

async function backUp(): Promise<void> {
  const { openRepository } = await import('../../libs/engine/src/repository.ts');
  const opening = openRepository({ storage, password });
  const { openFileSystemSource } = await import('../../libs/sources/src/file-system-source.ts');
  const source = await openFileSystemSource({ paths: [folder], roots: [folder] });
  const { archive } = await import('../../libs/engine/src/archiver.ts');
  const { chooseParent, listSnapshots } = await import('../../libs/engine/src/snapshots.ts');
  const { openStatCache } = await import('../../libs/engine/src/stat-cache/stat-cache.ts');
  const statCache = openStatCache({ folder: statCacheFolder, location: storage.location, source, ...owner, meanwhile: opening });
  try {
    await using repository = await opening;
    const parent = chooseParent(await listSnapshots(repository), { hostname: owner.hostname, paths: source.paths });
    const result = await archive({ repository, source, ...(parent === undefined ? {} : { parent }), ...owner, statCache, onProgress });
    finish(result.skippedCount === 0 && result.warnings.length === 0, result);
  } finally {
    statCache?.close();
    await source.close();
  }
}

async function restoreNewest(): Promise<void> {
  const { openRepository } = await import('../../libs/engine/src/repository.ts');
  const opening: Promise<Repository> = openRepository({ storage, password });
  const { restore, warmRestore } = await import('../../libs/engine/src/restorer.ts');
  const { openThreadPool } = await import('../../libs/engine/src/threads/thread-pool.ts');
  await using pool = openThreadPool();
  warmRestore(pool);
  const { openFileSystemTarget } = await import('../../libs/sources/src/file-system-target.ts');
  const { listSnapshots } = await import('../../libs/engine/src/snapshots.ts');
  await using repository = await opening;
  const newest = (await listSnapshots(repository)).at(-1);
  if (newest === undefined) throw new Error('there is no snapshot');
  const target = openFileSystemTarget({ path: folder, roots: [folder], overwrite: false });
  const result = await restore({ repository, pool, snapshotId: newest.id, target, onProgress });
  finish(result.failedCount === 0 && result.warningCount === 0, result);
}

function finish(ok: boolean, result: object): void {
  console.log(JSON.stringify(result, null, 1));
  if (!ok) process.exitCode = 1;
}
