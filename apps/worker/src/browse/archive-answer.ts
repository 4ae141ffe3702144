import type { SnapshotBrowser } from '@holdfast/engine/browse/snapshot-browser';
import type { WalkedEntry } from '@holdfast/engine/browse/snapshot-walk';
import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { writePath } from '@holdfast/jobs/browse/path-text';
import { archiveNameOf } from './archive-name.ts';
import type { ArchiveEntry, ArchiveWriter, EntryContent } from './archive-writer.ts';
import type { BrowseRequest } from './browse-server.ts';
import { given, givenPath } from './question.ts';
import type { BytesAnswer } from './send-answer.ts';
import { createTarWriter } from './tar-writer.ts';
import { createZipWriter } from './zip-writer.ts';

/** What is at the end of an archive in which something of the selection is not as it was. */
const noteName = 'HOLDFAST-LEFT-OUT.txt';
/** Lines of the note; what comes after is counted. */
const notedMaxCount = 10_000;
/** First names of files with several, 200 bytes each; of those beyond, the content is there again. */
const hardLinksMaxCount = 100_000;

const formats = { tar: createTarWriter, zip: createZipWriter } as const;

/**
 * A tar or zip archive of what is selected, made while it is sent. A name that would lead out of the folder in which it is unpacked, and what is
 * no file, folder or link, is left out and named in a note at the end. Damage cuts it off.
 * Codes, before anything is sent: snapshot_missing, path_not_found, request_invalid, those of the storage.
 */
export async function archiveAnswer(
  browser: SnapshotBrowser,
  { query, signal }: Pick<BrowseRequest, 'query' | 'signal'>,
  writers: Record<'tar' | 'zip', () => ArchiveWriter> = formats,
): Promise<BytesAnswer> {
  const snapshotId = given(query, 'snapshotId');
  const format = given(query, 'format');
  if (format !== 'tar' && format !== 'zip') throw new HoldfastError('request_invalid', 'is tar or zip', { context: { field: 'format' } });
  const paths = query.getAll('paths').map((path) => givenPath(new URLSearchParams({ path })));
  // What is not there is said before an archive has begun.
  for (const path of paths) await browser.entry(snapshotId, path, signal);
  const filler = new ArchiveFiller(browser, snapshotId, format);
  return { status: 200, headers: {}, body: archiveBytes(filler, writers[format](), paths, signal) };
}

async function* archiveBytes(
  filler: ArchiveFiller,
  writer: ArchiveWriter,
  paths: readonly string[],
  signal: AbortSignal,
): AsyncGenerator<Uint8Array, void, undefined> {
  const left = new AbortController();
  const filling = filler.fill(writer, paths, AbortSignal.any([signal, left.signal])).then(
    () => writer.end(),
    (error: unknown) => writer.destroy(error instanceof Error ? error : new Error(String(error))),
  );
  try {
    yield* writer.output;
  } finally {
    left.abort(new HoldfastError('run_cancelled', 'nobody reads the archive any longer'));
    await filling;
  }
}

class ArchiveFiller {
  readonly #browser: SnapshotBrowser;
  readonly #snapshotId: string;
  readonly #format: 'tar' | 'zip';
  readonly #firstNames = new Map<string, string>();
  readonly #notes: string[] = [];
  #noteCount = 0;
  #entryCount = 0;
  #isNoteTaken = false;

  constructor(browser: SnapshotBrowser, snapshotId: string, format: 'tar' | 'zip') {
    this.#browser = browser;
    this.#snapshotId = snapshotId;
    this.#format = format;
  }

  async fill(writer: ArchiveWriter, paths: readonly string[], signal: AbortSignal): Promise<void> {
    for await (const walked of this.#browser.walk(this.#snapshotId, { paths }, signal)) {
      const entry = this.#entryOf(walked, writer, signal);
      if (entry === null) continue;
      this.#entryCount++;
      await writer.add(entry, signal);
    }
    if (this.#noteCount === 0) return;
    const body = Buffer.from(this.#note(), 'utf8');
    const content = { kind: 'file', sizeBytes: body.length, body: onePiece(body) } as const;
    const name = this.#isNoteTaken ? `${noteName}-of-this-archive.txt` : noteName;
    const modifiedNs = BigInt(Date.now()) * 1_000_000n;
    await writer.add({ name, mode: 0o644, modifiedNs, uid: 0, gid: 0, user: '', group: '', content }, signal);
  }

  /** Null for what is left out. */
  #entryOf(walked: WalkedEntry, writer: ArchiveWriter, signal: AbortSignal): ArchiveEntry | null {
    const { path, node, mode, isUnsafe } = walked;
    const named = archiveNameOf(path, this.#format);
    if (isUnsafe || named.kind === 'unsafe')
      return this.#leaveOut(path, 'its name is none that a file system gives or is there twice, or its type is one that nobody knows');
    if (this.#entryCount >= writer.entriesMaxCount) {
      return this.#leaveOut(path, `one ${this.#format} has at most ${writer.entriesMaxCount} entries; take tar, or fewer paths`);
    }
    const content = this.#contentOf(walked, named.name, writer, signal);
    if (content === null) return this.#leaveOut(path, `it is a ${node.type}`);
    if (named.isRenamed) this.#say(`${writePath(path)}: it is in the archive as ${named.name}`);
    if (named.name === noteName) this.#isNoteTaken = true;
    const { modifiedNs, uid, gid, user = '', group = '' } = node;
    return { name: named.name, mode, modifiedNs, uid, gid, user, group, content };
  }

  #contentOf({ path, node }: WalkedEntry, name: string, { hasHardLinks }: ArchiveWriter, signal: AbortSignal): EntryContent | null {
    if (node.type === 'dir') return { kind: 'folder' };
    if (node.type === 'symlink') {
      const target = node.linkTarget ?? '';
      if (!target.isWellFormed()) this.#say(`${writePath(path)}: its target ${writePath(target)} is not UTF-8 and is written otherwise`);
      return { kind: 'symlink', target: target.toWellFormed() };
    }
    if (node.type !== 'file') return null;
    const first = hasHardLinks ? this.#firstNameOf(node, name) : undefined;
    if (first !== undefined) return { kind: 'hardlink', target: first };
    const sizeBytes = node.sizeBytes ?? 0;
    return { kind: 'file', sizeBytes, body: this.#bodyOf(path, sizeBytes, signal) };
  }

  async *#bodyOf(path: string, sizeBytes: number, signal: AbortSignal): AsyncGenerator<Uint8Array, void, undefined> {
    if (sizeBytes > 0) yield* this.#browser.read(this.#snapshotId, path, { offsetBytes: 0, lengthBytes: sizeBytes }, signal);
  }

  /** The name under which the same file is in the archive already. */
  #firstNameOf({ linkCount = 1n, inode, deviceId, content, sizeBytes = 0 }: WalkedEntry['node'], name: string): string | undefined {
    if (linkCount < 2n || inode === undefined) return undefined;
    // With its content, in case it was changed while it was backed up.
    const key = `${deviceId} ${inode} ${sizeBytes} ${content?.[0]} ${content?.at(-1)}`;
    const first = this.#firstNames.get(key);
    if (first === undefined && this.#firstNames.size < hardLinksMaxCount) this.#firstNames.set(key, name);
    return first;
  }

  #leaveOut(path: string, reason: string): null {
    this.#say(`${writePath(path)}: left out, ${reason}`);
    return null;
  }

  #say(line: string): void {
    this.#noteCount++;
    if (this.#notes.length < notedMaxCount) this.#notes.push(line);
  }

  #note(): string {
    const more = this.#noteCount - this.#notes.length;
    const lines = [
      'What of this selection is not in the archive, or not as it was. A recovery brings back all that a file system can hold.',
      '',
    ];
    return [...lines, ...this.#notes, ...(more > 0 ? [`and ${more} more`] : []), ''].join('\n');
  }
}

async function* onePiece(bytes: Uint8Array): AsyncGenerator<Uint8Array, void, undefined> {
  yield await Promise.resolve(bytes);
}
