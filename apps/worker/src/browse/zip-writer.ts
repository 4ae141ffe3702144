import { once } from 'node:events';
import { Duplex, Readable } from 'node:stream';
import { invariant } from '@holdfast/errors/invariant';
import { ZipFile } from 'yazl';
import { OutputGate, type ArchiveEntry, type ArchiveWriter } from './archive-writer.ts';

/** A ZIP archive, with ZIP64 where sizes or counts need it; modes and links as Info-ZIP writes them. It knows no hard links and no owners. */

/** The list at the end is held in memory, some 500 bytes an entry. */
const defaultEntriesMaxCount = 200_000;
/** Fast: a download is to be as quick as the line, and much of what is backed up is compressed already. */
const compressionLevel = 1;
const fileBits = { folder: 0o040_000, symlink: 0o120_000, hardlink: 0o100_000, file: 0o100_000 } as const;
const secondsMax = 2 ** 31 - 1;

export function createZipWriter({ entriesMaxCount = defaultEntriesMaxCount } = {}): ArchiveWriter {
  const zip = new ZipFile();
  const output = zip.outputStream;
  // It is one, which its declaration does not say.
  invariant(output instanceof Duplex, 'the stream of a ZIP is no stream of Node');
  // The library goes through its list from the start for each entry, which takes minutes for 200,000: those that are written wait elsewhere until
  // the end, where the archive's own list is made of all.
  const listed: unknown = 'entries' in zip ? zip.entries : undefined;
  invariant(Array.isArray(listed), 'a ZIP keeps no list of its entries');
  const done: unknown[] = [];
  const gate = new OutputGate(() => output.writableLength + output.readableLength);
  const { promise: failed, reject } = Promise.withResolvers<never>();
  failed.catch((error: unknown) => void output.destroy(error instanceof Error ? error : new Error(String(error))));
  zip.on('error', reject);
  return {
    output: gate.through(output),
    hasHardLinks: false,
    entriesMaxCount,
    async add(entry, signal) {
      await Promise.race([addTo(zip, output, entry, signal), failed]);
      for (const one of listed.splice(0)) done.push(one);
      await gate.opened();
    },
    end() {
      for (const one of done) listed.push(one);
      zip.end();
    },
    destroy: (error) => output.destroy(error),
  };
}

/**
 * Resolves when the entry has been written. The library keeps entries that come before the one ahead is done, and writes those without a body
 * in a recursion: some thousand of them, waiting behind one file that is being compressed, would overflow the stack and end the process.
 */
async function addTo(zip: ZipFile, output: Duplex, { name, mode, modifiedNs, content }: ArchiveEntry, signal: AbortSignal): Promise<void> {
  const seconds = Math.min(Math.max(Number(modifiedNs / 1_000_000_000n), 0), secondsMax);
  const options = { mtime: new Date(seconds * 1000), mode: mode | fileBits[content.kind] };
  if (content.kind === 'folder') return zip.addEmptyDirectory(name, options);
  if (content.kind !== 'file') return zip.addBuffer(Buffer.from(content.target), name, { ...options, compress: false });
  const body = Readable.from(content.body, { objectMode: false });
  // The library's own part of an entry ends with the pipe that leads to its output.
  const written = Promise.all([once(body, 'end', { signal }), once(output, 'unpipe', { signal })]);
  zip.addReadStream(body, name, { ...options, size: content.sizeBytes, compressionLevel });
  await written;
}
