import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { pack, type Pack } from 'tar-stream';
import { OutputGate, type ArchiveEntry, type ArchiveWriter } from './archive-writer.ts';

/** A tar archive (POSIX.1-2001: ustar with pax headers where a value does not fit). */

const blockBytes = 512;
/** What the octal digits of a ustar header have room for. */
const idMax = 0o777_777;
const secondsMax = 2 ** 31 - 1;
/** Its field has 32 bytes, with a NUL behind. */
const ownerMaxBytes = 31;

const types = { folder: 'directory', symlink: 'symlink', hardlink: 'link', file: 'file' } as const;

export function createTarWriter(): ArchiveWriter {
  const packed = pack();
  let writtenBytes = 0;
  const gate: OutputGate = new OutputGate(() => writtenBytes - gate.readBytes);
  return {
    output: gate.through(Readable.from(packed, { objectMode: false })),
    hasHardLinks: true,
    entriesMaxCount: Number.POSITIVE_INFINITY,
    async add(entry, signal) {
      const { content } = entry;
      const header = headerOf(entry);
      if (content.kind === 'file') {
        // Waits for the body to be taken.
        await pipeline(Readable.from(content.body, { objectMode: false }), packed.entry(header), { signal });
      } else packed.entry(header);
      // Without what fills the last block of a body, and pax headers: nobody waits for bytes that do not come.
      writtenBytes += blockBytes + (content.kind === 'file' ? content.sizeBytes : 0);
      await gate.opened();
    },
    end: () => packed.finalize(),
    destroy: (error) => packed.destroy(error),
  };
}

function headerOf({ name, mode, modifiedNs, uid, gid, user, group, content }: ArchiveEntry): Parameters<Pack['entry']>[0] {
  const seconds = Number(modifiedNs / 1_000_000_000n);
  const inHeader = Math.min(Math.max(seconds, 0), secondsMax);
  const pax = {
    ...(inHeader === seconds ? {} : { mtime: String(seconds) }),
    ...(uid > idMax ? { uid: String(uid) } : {}),
    ...(gid > idMax ? { gid: String(gid) } : {}),
  };
  return {
    name,
    type: types[content.kind],
    mode,
    uid: Math.min(uid, idMax),
    gid: Math.min(gid, idMax),
    mtime: new Date(inHeader * 1000),
    ...ownerNames(user, group),
    ...(content.kind === 'file' ? { size: content.sizeBytes } : {}),
    ...(content.kind === 'symlink' || content.kind === 'hardlink' ? { linkname: content.target } : {}),
    ...(Object.keys(pax).length === 0 ? {} : { pax }),
  };
}

const fits = (name: string): boolean => name !== '' && Buffer.byteLength(name) <= ownerMaxBytes;

/** A name that does not fit is left out: the number is there. */
function ownerNames(user: string, group: string): { uname?: string; gname?: string } {
  return { ...(fits(user) ? { uname: user } : {}), ...(fits(group) ? { gname: group } : {}) };
}
