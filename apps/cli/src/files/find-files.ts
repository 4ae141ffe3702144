import { folderAnswerSchema, historyAnswerSchema } from '@holdfast/jobs/browse/browse-answers';
import type { ApiClient } from '../api-client.ts';
import { formatBytes } from '../format-amount.ts';
import { eachPage, lineOf, pageLimit, timeOf, type WriteLine } from './list-files.ts';

/** Where is searched: one backup, or all of a config or a repository. */
export type SearchedPlace = { readonly jobId: string } | { readonly configId: string } | { readonly repositoryId: string };

export interface Search {
  /** A name, or a pattern when it holds `*`, `?`, `[` or a slash. */
  readonly pattern: string;
  /** Below this folder only. */
  readonly path: string;
  readonly ignoresCase: boolean;
}

/**
 * Writes what fits: for one backup a line an entry; over several a line a path and one below it for each of its versions, with the first
 * and last backup that has it. Gives how many paths there were.
 */
export async function findFiles(client: ApiClient, place: SearchedPlace, search: Search, write: WriteLine): Promise<number> {
  const asked = {
    [isPattern(search.pattern) ? 'glob' : 'name']: search.pattern,
    path: search.path,
    limit: String(pageLimit),
    ...(search.ignoresCase ? { ignoreCase: 'true' } : {}),
  };
  return 'jobId' in place ? findInOne(client, place.jobId, asked, write) : findInAll(client, { ...asked, ...place }, write);
}

type Query = Readonly<Record<string, string>>;

async function findInOne(client: ApiClient, jobId: string, asked: Query, write: WriteLine): Promise<number> {
  let count = 0;
  await eachPage(async (cursor) => {
    const query = new URLSearchParams({ ...asked, ...cursor });
    const answer = await client.get(`/jobs/${encodeURIComponent(jobId)}/files?${query.toString()}`, folderAnswerSchema);
    for (const entry of answer.items) write(lineOf(entry, entry.path));
    tellUnreadable(answer.unreadable, write);
    count += answer.items.length;
    return answer.nextCursor;
  });
  return count;
}

async function findInAll(client: ApiClient, asked: Query, write: WriteLine): Promise<number> {
  let count = 0;
  await eachPage(async (cursor) => {
    const answer = await client.get(`/files/search?${new URLSearchParams({ ...asked, ...cursor }).toString()}`, historyAnswerSchema);
    for (const { path, versions } of answer.items) {
      write(path);
      for (const { type, sizeBytes, modified, first, last, backupCount } of versions) {
        const what = type === 'file' ? formatBytes(sizeBytes) : type;
        const until = backupCount === 1 ? '' : ` to ${timeOf(last.time)} ${last.backupJobId}, ${backupCount} backups`;
        write(`  ${what.padStart(9)}  ${timeOf(modified)}  in ${timeOf(first.time)} ${first.backupJobId}${until}`);
      }
    }
    tellUnreadable(answer.unreadable, write);
    count += answer.items.length;
    return answer.nextCursor;
  });
  return count;
}

/** What could not be searched is said: something may be missing in the answer. */
function tellUnreadable(unreadable: readonly { path: string; reason: string }[], write: WriteLine): void {
  for (const { path, reason } of unreadable) write(`(not searched: ${path}: ${reason})`);
}

function isPattern(text: string): boolean {
  return /[*?[/]/u.test(text);
}
