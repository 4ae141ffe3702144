import { z } from 'zod';

/**
 * What a worker answers to browse requests, and the API passes on as it is. Names and paths are written as in path-text.ts. Cursors are the
 * worker's own and mean nothing to anybody else.
 */
export const browsedTypes = ['file', 'dir', 'symlink', 'dev', 'chardev', 'fifo', 'socket', 'irregular'] as const;

const cursor = z.string().nullable().describe('Send it as `cursor` for the next page; null on the last one');
const sizeBytes = z.number().int().describe('Bytes of a file; 0 for everything else');
const modified = z.string().describe('Time of the last change, ISO 8601 in UTC, with nanoseconds');

const entryType = z.enum(browsedTypes);
const contentId = z.string().nullable().describe('Of a file: equal for equal content');
const isUnsafe = z
  .boolean()
  .describe(
    'The name is none that a file system gives (holds a slash, is `..`, is there twice), or nobody knows the type: it is shown and cannot be read',
  );
const path = z.string().describe('Absolute in the snapshot, written like the name; can be sent as `path`');

const browsedEntrySchema = z
  .object({
    name: z.string().describe('A backslash is written `\\\\`, a byte that is no UTF-8 `\\xff`, a line break `\\n`'),
    path,
    type: entryType,
    sizeBytes,
    modified,
    mode: z
      .string()
      .nullable()
      .describe('Permissions in octal, such as 0644; this and what follows up to childCount is null for what a search found'),
    uid: z.number().int().nullable(),
    gid: z.number().int().nullable(),
    user: z.string().nullable(),
    group: z.string().nullable(),
    linkTarget: z.string().nullable().describe('Of a symbolic link'),
    childCount: z.number().int().nullable().describe('Of a folder, where it is known without looking'),
    contentId,
    isUnsafe,
    unknownType: z
      .string()
      .nullable()
      .describe(
        'What the snapshot calls the type, where no program that we know writes such a one: `type` is irregular then. Null for a search',
      ),
  })
  .meta({ id: 'SnapshotEntry' });
export type BrowsedEntryView = z.output<typeof browsedEntrySchema>;

const unreadable = z
  .array(z.object({ path: z.string(), reason: z.string() }))
  .describe('Folders that a search could not read and passed over, at most a hundred');

export const folderAnswerSchema = z
  .object({
    items: z.array(browsedEntrySchema),
    nextCursor: cursor,
    totalCount: z.number().int().nullable().describe('Entries of the folder; null for a search'),
    unreadable,
  })
  .meta({ id: 'SnapshotEntries' });
export type FolderAnswer = z.output<typeof folderAnswerSchema>;

const backupSchema = z.object({ backupJobId: z.string(), time: z.string().describe('When the backup began') });

const versionSchema = z.object({
  type: entryType,
  sizeBytes,
  modified,
  contentId,
  isUnsafe,
  first: backupSchema.describe('The first backup that has it so'),
  last: backupSchema.describe('The last one'),
  backupCount: z.number().int().describe('How many have it so'),
});

export const historyAnswerSchema = z
  .object({
    items: z.array(z.object({ path, versions: z.array(versionSchema).describe('In the order in which they came') })),
    nextCursor: cursor,
    backupCount: z.number().int().describe('Backups that were searched'),
    missing: z.array(z.string()).describe('Backups whose snapshot is not in the repository any more, at most a hundred'),
    unreadable,
  })
  .meta({ id: 'FileHistory' });
export type HistoryAnswer = z.output<typeof historyAnswerSchema>;

export const diffChanges = ['added', 'removed', 'modified', 'metadata', 'type_changed'] as const;

const sideSchema = z.object({ type: entryType, sizeBytes, modified, contentId }).nullable();
const changeCount = z.number().int();

export const diffAnswerSchema = z
  .object({
    items: z.array(
      z.object({
        path,
        change: z.enum(diffChanges).describe('modified: another content; metadata: only mode, owner, time or attributes'),
        before: sideSchema.describe('Null when it was added'),
        after: sideSchema.describe('Null when it was removed'),
        isUnsafe,
      }),
    ),
    nextCursor: cursor,
    totals: z
      .object({
        added: changeCount,
        removed: changeCount,
        modified: changeCount,
        metadata: changeCount,
        type_changed: changeCount,
        bytesBefore: z.number().int().describe('Of the files among them, as they were'),
        bytesAfter: z.number().int().describe('As they are'),
      })
      .describe('Of the whole comparison, whatever the page'),
  })
  .meta({ id: 'SnapshotDiff' });
export type DiffAnswer = z.output<typeof diffAnswerSchema>;
