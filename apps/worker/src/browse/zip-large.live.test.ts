import { execFile } from 'node:child_process';
import { createWriteStream } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import type { ArchiveEntry } from './archive-writer.ts';
import { createZipWriter } from './zip-writer.ts';

// Needs no server, but more time than a unit test may take. What a ZIP without ZIP64 has no room for: sizes of four gibibytes, and lists of 65,536 entries.

const never = new AbortController().signal;
const piece = Buffer.alloc(1024 * 1024);
const pieceCount = 4096;
const tail = Buffer.from('the end');
const largeBytes = pieceCount * piece.length + tail.length;
const folderCount = 66_000;
const plain = { modifiedNs: 0n, uid: 0, gid: 0, user: '', group: '' };

async function* largeBody(): AsyncGenerator<Uint8Array> {
  for (let nth = 0; nth < pieceCount; nth++) yield await Promise.resolve(piece);
  yield tail;
}

function* entries(): Generator<ArchiveEntry> {
  yield { ...plain, name: 'large', mode: 0o600, content: { kind: 'file', sizeBytes: largeBytes, body: largeBody() } };
  for (let nth = 0; nth < folderCount; nth++) yield { ...plain, name: `folder-${nth}`, mode: 0o700, content: { kind: 'folder' } };
}

test('a zip with a file of more than 4 GiB and more than 65,535 entries is read by Python', { timeout: 180_000 }, async () => {
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-zip-'));
  try {
    const writer = createZipWriter();
    const filling = (async () => {
      for (const entry of entries()) await writer.add(entry, never);
      writer.end();
    })();
    await pipeline(Readable.from(writer.output), createWriteStream(join(folder, 'a.zip')));
    await filling;
    // Its own reading checks the CRC at the end of the entry.
    const program = `
import sys, zipfile
archive = zipfile.ZipFile(sys.argv[1])
size, last = 0, b''
with archive.open('large') as body:
    while piece := body.read(1 << 22):
        size, last = size + len(piece), (last + piece)[-7:]
print(archive.getinfo('large').file_size, size, last.decode(), len(archive.namelist()), archive.namelist()[-1], sep='|')
`;
    const { stdout } = await promisify(execFile)('python3', ['-c', program, join(folder, 'a.zip')]);
    expect(stdout.trim()).toBe([largeBytes, largeBytes, 'the end', folderCount + 1, `folder-${folderCount - 1}/`].join('|'));
  } finally {
    await rm(folder, { recursive: true });
  }
});
