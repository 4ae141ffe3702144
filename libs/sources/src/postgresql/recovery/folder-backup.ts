import { constants } from 'node:fs';
import { lstat, mkdir, open, readdir } from 'node:fs/promises';
import { posix } from 'node:path';
import { errnoCode } from '@holdfast/errors/errno-code';
import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { readingError, writingError } from '../../file-system-error.ts';
import type { BackupEntry, CombinedWriter, ListedBackupReader } from './combine.ts';

/** Base backups that lie in folders as they came, and the folder that a combined one is written to. */

const folderMode = 0o700;
const fileMode = 0o600;
const readFlags = constants.O_RDONLY | constants.O_NOFOLLOW;
const createFlags = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;

/** The base backup in the folder `root`. Codes of its calls: path_not_found, path_not_readable. */
export function folderBackup(root: string): ListedBackupReader {
  return {
    entries: () => listFolder(root, ''),
    open: async (path) => {
      const place = posix.join(root, checkedPath(path));
      const handle = await open(place, readFlags).catch((error: unknown) => {
        if (errnoCode(error) === 'ENOENT') return null;
        throw readingError(error, place);
      });
      if (handle === null) return null;
      return {
        sizeBytes: (await handle.stat()).size,
        read: async (buffer, positionBytes) => (await handle.read(buffer, 0, buffer.length, positionBytes)).bytesRead,
        close: () => handle.close(),
      };
    },
  };
}

/** Writes into the folder `root`, which is there; only its owner may enter and read what is made. Codes: target_not_empty, target_not_writable, disk_full. */
export function folderWriter(root: string): CombinedWriter {
  return {
    makeDirectory: async (path) => {
      const place = posix.join(root, checkedPath(path));
      await mkdir(place, { mode: folderMode }).catch((error: unknown) => {
        throw writingError(error, place);
      });
    },
    createFile: async (path) => {
      const place = posix.join(root, checkedPath(path));
      const translated = async <T>(call: Promise<T>): Promise<T> =>
        call.catch((error: unknown) => {
          throw writingError(error, place);
        });
      const handle = await translated(open(place, createFlags, fileMode));
      return {
        write: async (piece) => translated(writeWhole(handle, piece)),
        close: async () => translated(handle.close()),
      };
    },
  };
}

async function writeWhole(handle: Awaited<ReturnType<typeof open>>, piece: Uint8Array): Promise<void> {
  for (let writtenBytes = 0; writtenBytes < piece.length;) {
    writtenBytes += (await handle.write(piece, writtenBytes)).bytesWritten;
  }
}

async function* listFolder(root: string, path: string): AsyncGenerator<BackupEntry> {
  const place = posix.join(root, path);
  const names = await readdir(place, { withFileTypes: true }).catch((error: unknown) => {
    throw readingError(error, place);
  });
  for (const entry of names.toSorted((a, b) => (a.name < b.name ? -1 : 1))) {
    const entryPath = posix.join(path, entry.name);
    if (!entry.isDirectory() && !entry.isFile()) {
      throw new HoldfastError('postgresql_chain_broken', `${JSON.stringify(entryPath)} in a base backup is neither a file nor a folder`);
    }
    const { mtime } = await lstat(posix.join(root, entryPath));
    yield { path: entryPath, type: entry.isDirectory() ? 'dir' : 'file', modified: mtime };
    if (entry.isDirectory()) yield* listFolder(root, entryPath);
  }
}

/** Manifests and repositories name these; none leads out of the folder. */
function checkedPath(path: string): string {
  const isInside = path !== '' && !path.includes('\0') && path.split('/').every((name) => name !== '' && name !== '.' && name !== '..');
  if (!isInside)
    throw new HoldfastError('path_outside_roots', `${JSON.stringify(path)} is no path inside a data folder`, { context: { path } });
  return path;
}
