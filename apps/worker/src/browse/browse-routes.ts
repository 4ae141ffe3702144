import { listBrowsedBackups, type BrowsedBackup } from '@holdfast/database/backup-jobs';
import type { SnapshotBrowser } from '@holdfast/engine/browse/snapshot-browser';
import type { DiffEntry } from '@holdfast/engine/browse/snapshot-diff';
import type { FoundFile } from '@holdfast/engine/browse/snapshot-search';
import { HoldfastError } from '@holdfast/errors/holdfast-error';
import type { DiffAnswer, FolderAnswer, HistoryAnswer } from '@holdfast/jobs/browse/browse-answers';
import { writePath } from '@holdfast/jobs/browse/path-text';
import type { WorkerContext } from '../worker-context.ts';
import { archiveAnswer } from './archive-answer.ts';
import type { BrowserPool } from './browser-pool.ts';
import type { BrowseRequest, BrowseRoutes } from './browse-server.ts';
import { contentAnswer } from './content-answer.ts';
import { viewOfFound, viewOfListed, viewOfUnreadable, writeTime } from './entry-views.ts';
import { given, givenPage, givenPath, givenSearch, writeCursor } from './question.ts';
import type { BytesAnswer } from './send-answer.ts';

/** So many backups of a config are one a quarter of an hour for three months; with more, a search names a stretch of time. */
const searchedBackupsMaxCount = 10_000;
/** Of snapshots that are gone. */
const missingMaxCount = 100;

/** What a worker is asked, by path: see browse-answers.ts for what it says. Every request names the repository, and most the snapshot. */
export function browseRoutes(context: WorkerContext, pool: BrowserPool): BrowseRoutes {
  const looking =
    (look: (browser: SnapshotBrowser, request: BrowseRequest) => Promise<object>) =>
    async (request: BrowseRequest): Promise<object> => {
      using lent = await pool.lend(given(request.query, 'repositoryId'), request.signal);
      try {
        return await look(lent.browser, request);
      } catch (error) {
        lent.failed(error);
        throw error;
      }
    };
  const sending =
    (look: (browser: SnapshotBrowser, request: BrowseRequest) => Promise<BytesAnswer>) =>
    async (request: BrowseRequest): Promise<BytesAnswer> => {
      using lending = new DisposableStack();
      const lent = lending.use(await pool.lend(given(request.query, 'repositoryId'), request.signal));
      try {
        const answer = await look(lent.browser, request);
        // It is given back when the last byte has been read.
        return answer.body === null ? answer : { ...answer, body: lentBody(answer.body, lent, lending.move()) };
      } catch (error) {
        lent.failed(error);
        throw error;
      }
    };
  return {
    json: {
      '/folder': looking(folder),
      '/search': looking(search),
      '/history': looking((browser, request) => history(context, browser, request)),
      '/diff': looking(diff),
    },
    bytes: { '/content': sending(contentAnswer), '/archive': sending(archiveAnswer) },
  };
}

async function* lentBody(
  body: AsyncIterable<Uint8Array>,
  lent: { failed(error: unknown): void },
  lending: DisposableStack,
): AsyncGenerator<Uint8Array, void, undefined> {
  using _ = lending;
  try {
    yield* body;
  } catch (error) {
    lent.failed(error);
    throw error;
  }
}

async function folder(browser: SnapshotBrowser, { query, signal }: BrowseRequest): Promise<FolderAnswer> {
  const page = await browser.folder(given(query, 'snapshotId'), givenPath(query), givenPage(query), signal);
  return { items: page.entries.map(viewOfListed), nextCursor: writeCursor(page.next), totalCount: page.totalCount, unreadable: [] };
}

async function search(browser: SnapshotBrowser, { query, signal }: BrowseRequest): Promise<FolderAnswer> {
  const page = await browser.search(given(query, 'snapshotId'), givenSearch(query), signal);
  const unreadable = page.unreadable.map(viewOfUnreadable);
  return { items: page.entries.map(viewOfFound), nextCursor: writeCursor(page.next), totalCount: null, unreadable };
}

async function history({ database }: WorkerContext, browser: SnapshotBrowser, { query, signal }: BrowseRequest): Promise<HistoryAnswer> {
  const time = (field: string): Date | undefined => (query.has(field) ? new Date(given(query, field)) : undefined);
  const filter = { backupConfigId: query.get('backupConfigId') ?? undefined, from: time('from'), to: time('to') };
  const repositoryId = given(query, 'repositoryId');
  const backups = await listBrowsedBackups(database.client, repositoryId, filter, searchedBackupsMaxCount + 1);
  if (backups.length > searchedBackupsMaxCount) {
    const message = `is needed: more than ${searchedBackupsMaxCount} backups are there; name a time from which on they are searched, or one to which`;
    throw new HoldfastError('request_invalid', message, { context: { field: 'from' } });
  }
  const backupOf = new Map(backups.map((backup) => [backup.snapshotId, backup]));
  const page = await browser.searchAll([...backupOf.keys()], givenSearch(query), signal);
  return {
    items: page.files.map((file) => ({ path: writePath(file.path), versions: versionsOf(file, backupOf) })),
    nextCursor: writeCursor(page.next),
    backupCount: backups.length,
    missing: page.missingSnapshots.slice(0, missingMaxCount).flatMap((id) => backupOf.get(id)?.id ?? []),
    unreadable: page.unreadable.map(viewOfUnreadable),
  };
}

type Version = HistoryAnswer['items'][number]['versions'][number];

function versionsOf({ versions }: FoundFile, backupOf: ReadonlyMap<string, BrowsedBackup>): Version[] {
  const seen = (snapshotId: string): Version['first'] => {
    const backup = backupOf.get(snapshotId);
    return { backupJobId: backup?.id ?? '', time: backup?.time.toISOString() ?? '' };
  };
  return versions.map(({ type, sizeBytes, modifiedNs, contentId = null, isUnsafe, firstSnapshot, lastSnapshot, snapshotCount }) => ({
    type,
    sizeBytes,
    modified: writeTime(modifiedNs),
    contentId,
    isUnsafe,
    first: seen(firstSnapshot),
    last: seen(lastSnapshot),
    backupCount: snapshotCount,
  }));
}

async function diff(browser: SnapshotBrowser, { query, signal }: BrowseRequest): Promise<DiffAnswer> {
  const options = { path: givenPath(query), ...givenPage(query) };
  const page = await browser.diff(given(query, 'snapshotId'), given(query, 'otherSnapshotId'), options, signal);
  const items = page.entries.map(({ path, change, before, after, isUnsafe }) => {
    return { path: writePath(path), change, before: sideOf(before), after: sideOf(after), isUnsafe };
  });
  return { items, nextCursor: writeCursor(page.next), totals: page.totals };
}

function sideOf(side: DiffEntry['before']): DiffAnswer['items'][number]['before'] {
  if (side === null) return null;
  const { type, sizeBytes, modifiedNs, contentId = null } = side;
  return { type, sizeBytes, modified: writeTime(modifiedNs), contentId };
}
