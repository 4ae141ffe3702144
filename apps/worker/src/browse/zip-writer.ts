import { once } from 'node:events';
import { Readable } from 'node:stream';
import { invariant } from '@holdfast/errors/invariant';
import { ZipFile } from 'yazl';
import { OutputGate, type ArchiveEntry, type ArchiveWriter } from './archive-writer.ts';

/** A ZIP archive, with ZIP64 where sizes or counts need it; modes and links as Info-ZIP writes them. It knows no hard links and no owners. */

/** The list at the end is held in memory, some 500 bytes an entry. */
const entriesMaxCount = 200_000;
/** Fast: a download is to be as quick as the line, and much of what is backed up is compressed already. */
const compressionLevel = 1;
/** Header, name and the descriptor behind, at the least. */
const entryMinBytes = 30;
const fileBits = { folder: 0o040_000, symlink: 0o120_000, hardlink: 0o100_000, file: 0o100_000 } as const;
const secondsMax = 2 ** 31 - 1;

export function createZipWriter(): ArchiveWriter {
  const zip = new ZipFile();
  const gate = new OutputGate();
  const output = zip.outputStream;
  // It is one, which its declaration does not say.
  invariant(output instanceof Readable, 'the stream of a ZIP is no stream of Node');
  const { promise: failed, reject } = Promise.withResolvers<never>();
  failed.catch((error: unknown) => void output.destroy(error instanceof Error ? error : new Error(String(error))));
  zip.on('error', reject);
  return {
    output: gate.through(output),
    hasHardLinks: false,
    entriesMaxCount,
    async add(entry, signal) {
      await Promise.race([addTo(zip, entry, signal), failed]);
      await gate.written(entryMinBytes);
    },
    end: () => zip.end(),
    destroy: (error) => output.destroy(error),
  };
}

/** Resolves when the body was read. */
async function addTo(zip: ZipFile, { name, mode, modifiedNs, content }: ArchiveEntry, signal: AbortSignal): Promise<void> {
  const seconds = Math.min(Math.max(Number(modifiedNs / 1_000_000_000n), 0), secondsMax);
  const options = { mtime: new Date(seconds * 1000), mode: mode | fileBits[content.kind] };
  if (content.kind === 'folder') return zip.addEmptyDirectory(name, options);
  if (content.kind !== 'file') return zip.addBuffer(Buffer.from(content.target), name, { ...options, compress: false });
  const body = Readable.from(content.body, { objectMode: false });
  const ended = once(body, 'end', { signal });
  zip.addReadStream(body, name, { ...options, size: content.sizeBytes, compressionLevel });
  await ended;
}
