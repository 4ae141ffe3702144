import type { ChunkInspection } from '@holdfast/engine/archive-stream/chunk-inspection';
import { untoldFolder, type StreamNode } from '@holdfast/engine/archive-stream/received-folder';
import type { StreamSink } from '@holdfast/engine/archive-stream/stream-tree';
import { invariant } from '@holdfast/errors/invariant';
import type { BaseBackupEntry } from '@holdfast/sources/postgresql/base-backup/base-backup';
import { pieceInspectorModule } from '@holdfast/sources/postgresql/base-backup/piece-inspector';

/**
 * A base backup as a snapshot has it: plain files, so that stock restic and the server's own programs can restore it.
 *
 *     /data/…                 the data folder; files of a tablespace below pg_tblspc/<oid>, of which the server sends no links
 *     /data/backup_manifest
 *     /README.txt             how it is restored by hand
 *     /backup.json            the facts of the row, so that it can be made again from the repository alone
 */
export const baseBackupPaths = ['/README.txt', '/backup.json', '/data'];
/** Relation files change a page here and there: see docs/decisions/pages-at-fixed-places.md. */
export const baseChunkBytes = 256 * 1024;
/** Checksums of files and pages are made where the chunks are stored: by one thread they would take longer than all else by two. */
export const baseInspection: ChunkInspection = { module: pieceInspectorModule };

type Entry<K extends BaseBackupEntry['kind']> = Extract<BaseBackupEntry, { kind: K }>;

export interface ReceivedBase {
  readonly start: Entry<'start'>;
  readonly end: Entry<'end'>;
}

const nsPerS = 1_000_000_000n;
const folderMode = 0o700;
const fileMode = 0o600;

/** Hands everything of a base backup to the sink but what it is about: README.txt and backup.json. Throws what receiving and storing throw. */
export async function storeBaseBackup(
  entries: AsyncIterable<BaseBackupEntry>,
  sink: StreamSink,
  onStart: (start: Entry<'start'>) => void,
): Promise<ReceivedBase> {
  let start: Entry<'start'> | undefined;
  let latestS = 0;
  for await (const entry of entries) {
    switch (entry.kind) {
      case 'start':
        start = entry;
        onStart(entry);
        for (const { oid } of entry.tablespaces) await sink.add(`/data/pg_tblspc/${oid}`, nodeOf('dir', folderMode, 0));
        break;
      case 'directory':
        await sink.add(`/data/${entry.path}`, nodeOf('dir', entry.mode, entry.modifiedS));
        break;
      case 'file':
        latestS = Math.max(latestS, entry.modifiedS);
        await sink.addFile(`/data/${entry.path}`, nodeOf('file', entry.mode, entry.modifiedS), entry.content);
        break;
      case 'symlink':
        // To a tablespace, of which tablespace_map says the same: its files come below this path.
        break;
      case 'manifest':
        await addText(sink, '/data/backup_manifest', entry.bytes, latestS);
        // What threads found in the files is compared with it next.
        await sink.settle();
        break;
      case 'end':
        invariant(start !== undefined, 'a base backup begins with its start');
        return { start, end: entry };
    }
  }
  throw new Error('a base backup ended before its end');
}

/** A file that is made here. `modifiedS`: seconds since 1970. */
export async function addText(sink: StreamSink, path: string, content: string | Uint8Array, modifiedS: number): Promise<void> {
  await sink.addFile(path, nodeOf('file', fileMode, modifiedS), inOnePiece(typeof content === 'string' ? Buffer.from(content) : content));
}

async function* inOnePiece(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}

/** The server does not say more of a file than this; whoever restores it decides whose it is. */
function nodeOf(type: 'file' | 'dir', mode: number, modifiedS: number): StreamNode {
  const modifiedNs = BigInt(modifiedS) * nsPerS;
  return { ...untoldFolder, type, mode, modifiedNs, accessedNs: modifiedNs, changedNs: modifiedNs };
}
