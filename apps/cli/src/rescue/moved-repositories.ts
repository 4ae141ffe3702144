import { isAbsolute, normalize } from 'node:path';
import { inTransaction } from '@holdfast/database/in-transaction';
import type { Database } from '@holdfast/database/open-database';
import { listRepositories, moveRepository } from '@holdfast/database/repositories';
import type { MasterKey } from '@holdfast/database/sealed-secret';
import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { locationKey, parseStorageOptions } from '@holdfast/storage/storage-options';

/** A folder, with all below it, that lies elsewhere than it did. */
export interface Moved {
  readonly from: string;
  readonly to: string;
}

/** Reads `/old=/new`. Code: request_invalid. */
export function parseMoved(text: string): Moved {
  const [from, to, ...rest] = text.split('=');
  if (from === undefined || to === undefined || rest.length > 0 || !isAbsolute(from) || !isAbsolute(to)) {
    throw new HoldfastError('request_invalid', `--moved: ${JSON.stringify(text)} is not two absolute folders`, {
      hint: 'give the folder that was and the one that is, such as --moved /backup=/mnt/backup',
    });
  }
  return { from: withoutSlash(from), to: withoutSlash(to) };
}

/** Where a path lies after the moves, the first that fits; undefined when none does. */
export function movedPath(path: string, moves: readonly Moved[]): string | undefined {
  const moved = moves.find(({ from }) => path === from || path.startsWith(`${from}/`));
  return moved === undefined ? undefined : `${moved.to}${path.slice(moved.from.length)}`;
}

/** Tells the rows of folders that somebody has moved, and nothing else. May be repeated. Codes: those of moveRepository. */
export async function moveRepositories(
  database: Database,
  moves: readonly Moved[],
  masterKey: MasterKey,
  onMoved: (from: string, to: string) => void,
): Promise<void> {
  let cursor: string | undefined;
  do {
    const page = await listRepositories(database.client, '*', {}, { cursor });
    for (const { id, storageOptions: value } of page.items) {
      const options = parseStorageOptions(value);
      const path = options.type === 'local' ? movedPath(options.path, moves) : undefined;
      if (options.type !== 'local' || path === undefined) continue;
      const storageOptions = { ...options, path };
      const to = { storageOptions, locationKey: locationKey(storageOptions) };
      const isMoved = await inTransaction(database, (tx) => moveRepository(tx, id, to, masterKey), { repeatable: true });
      if (isMoved) onMoved(options.path, path);
    }
    cursor = page.nextCursor ?? undefined;
  } while (cursor !== undefined);
}

function withoutSlash(path: string): string {
  const plain = normalize(path);
  return plain.length > 1 && plain.endsWith('/') ? plain.slice(0, -1) : plain;
}
