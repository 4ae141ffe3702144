import { folderAnswerSchema, type BrowsedEntryView } from '@holdfast/jobs/browse/browse-answers';
import type { ApiClient } from '../api-client.ts';
import { formatBytes } from '../format-amount.ts';

/** Lines go to people: paths come escaped from the API, so that no name takes over a terminal. */
export type WriteLine = (line: string) => void;

/** As many as the API gives at a time. */
export const pageLimit = 1_000;

/**
 * Writes a line for each entry of a folder of a backup, in the order of names: mode, owner, size, time, name; folders end in a slash. Page
 * by page: a folder of a million entries needs no more memory than one of a thousand.
 */
export async function listFiles(client: ApiClient, place: { jobId: string; path: string }, write: WriteLine): Promise<void> {
  await eachPage(async (cursor) => {
    const query = new URLSearchParams({ path: place.path, limit: String(pageLimit), ...cursor });
    const { items, nextCursor } = await client.get(
      `/jobs/${encodeURIComponent(place.jobId)}/files?${query.toString()}`,
      folderAnswerSchema,
    );
    for (const entry of items) write(lineOf(entry, entry.name));
    return nextCursor;
  });
}

/** Asks for pages until there is none. */
export async function eachPage(ask: (cursor: { cursor?: string }) => Promise<string | null>): Promise<void> {
  let cursor = await ask({});
  while (cursor !== null) cursor = await ask({ cursor });
}

/** `-rw-r--r--  ann:staff   1.5 MiB  2026-05-01 03:00:00  report.pdf` */
export function lineOf(entry: BrowsedEntryView, name: string): string {
  const { type, mode, uid, gid, user, group, sizeBytes, modified, linkTarget, isUnsafe, unknownType } = entry;
  const owner = `${user ?? uid ?? '?'}:${group ?? gid ?? '?'}`;
  const size = type === 'file' ? formatBytes(sizeBytes) : '-';
  const shown = type === 'dir' ? `${name}/` : linkTarget === null ? name : `${name} -> ${linkTarget}`;
  const forged = unknownType === null ? 'forged name' : `unknown type ${unknownType}`;
  const remark = isUnsafe ? `  (${forged}: cannot be read)` : '';
  return `${letterOf[type]}${mode === null ? '?????????' : permissionsOf(mode)}  ${owner.padEnd(15)}  ${size.padStart(9)}  ${timeOf(modified)}  ${shown}${remark}`;
}

/** As ls(1) has them. */
const letterOf: Readonly<Record<BrowsedEntryView['type'], string>> = {
  file: '-',
  dir: 'd',
  symlink: 'l',
  dev: 'b',
  chardev: 'c',
  fifo: 'p',
  socket: 's',
  irregular: '?',
};

/** `0644` is `rw-r--r--`; set-id and sticky bits are letters in their places. */
function permissionsOf(octal: string): string {
  const mode = Number.parseInt(octal, 8);
  const letters = Array.from('rwxrwxrwx', (letter, nth) => ((mode >> (8 - nth)) & 1 ? letter : '-'));
  const special = [
    [0o4000, 2, 's'],
    [0o2000, 5, 's'],
    [0o1000, 8, 't'],
  ] as const;
  for (const [bit, at, letter] of special) {
    if ((mode & bit) !== 0) letters[at] = letters[at] === 'x' ? letter : letter.toUpperCase();
  }
  return letters.join('');
}

/** UTC, to the second. */
export function timeOf(modified: string): string {
  return modified.slice(0, 19).replace('T', ' ');
}
