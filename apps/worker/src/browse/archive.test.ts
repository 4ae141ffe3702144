import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { lstat, mkdtemp, readFile, readlink, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { ArchiveEntry, ArchiveWriter } from './archive-writer.ts';
import { archiveNameOf } from './archive-name.ts';
import { createTarWriter } from './tar-writer.ts';
import { createZipWriter } from './zip-writer.ts';

// What is written is read by the programs of others.

const run = promisify(execFile);
let folder = '';
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'holdfast-archive-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const never = new AbortController().signal;
const time = 1_767_225_600n * 1_000_000_000n;
const plain = { mode: 0o640, modifiedNs: time, uid: 0, gid: 0, user: 'root', group: 'root' };

function file(name: string, content: string | Buffer, more: Partial<ArchiveEntry> = {}): ArchiveEntry {
  const bytes = Buffer.from(content);
  const body = async function* (): AsyncGenerator<Uint8Array> {
    yield await Promise.resolve(bytes);
  };
  return { ...plain, name, content: { kind: 'file', sizeBytes: bytes.length, body: body() }, ...more };
}

async function written(writer: ArchiveWriter, entries: Iterable<ArchiveEntry>): Promise<Buffer> {
  const filling = (async () => {
    for (const entry of entries) await writer.add(entry, never);
    writer.end();
  })();
  const parts: Uint8Array[] = [];
  for await (const part of writer.output) parts.push(part);
  await filling;
  return Buffer.concat(parts);
}

const longName = `${'f'.repeat(120)}/${'n'.repeat(250)}.txt`;
const entries = (hardLinks: boolean): ArchiveEntry[] => [
  { ...plain, name: 'top', mode: 0o755, content: { kind: 'folder' } },
  file('top/plain.txt', 'hello'),
  file('top/ünïcode 日本.txt', 'named'),
  file(longName, 'long'),
  file('top/empty', ''),
  file('top/setuid', 'x', { mode: 0o4755 }),
  file('top/big', Buffer.alloc(3 * 1024 * 1024, 7)),
  { ...plain, name: 'top/link', mode: 0o777, content: { kind: 'symlink', target: '../plain.txt' } },
  ...(hardLinks ? [{ ...plain, name: 'top/again', content: { kind: 'hardlink', target: 'top/plain.txt' } } as const] : []),
  file('old', 'before 1970', { modifiedNs: -1n * 86_400n * 1_000_000_000n }),
  file('late', 'after 2038', { modifiedNs: 4_000_000_000n * 1_000_000_000n, uid: 4_000_000_000 }),
];

async function expectTree(target: string): Promise<void> {
  expect(await readFile(join(target, 'top/plain.txt'), 'utf8')).toBe('hello');
  expect(await readFile(join(target, 'top/ünïcode 日本.txt'), 'utf8')).toBe('named');
  expect(await readFile(join(target, longName), 'utf8')).toBe('long');
  expect((await lstat(join(target, 'top/empty'))).size).toBe(0);
  expect((await readFile(join(target, 'top/big'))).equals(Buffer.alloc(3 * 1024 * 1024, 7))).toBe(true);
  expect(await readlink(join(target, 'top/link'))).toBe('../plain.txt');
  const { mode, mtimeMs } = await lstat(join(target, 'top/plain.txt'));
  expect(mode & 0o777).toBe(0o640);
  expect(mtimeMs).toBe(Number(time / 1_000_000n));
}

test('a tar is unpacked by tar as it was put in: modes, times, links, long names', async () => {
  const target = await mkdtemp(join(folder, 'tar-'));
  await writeFile(join(folder, 'a.tar'), await written(createTarWriter(), entries(true)));
  await run('tar', ['-xpf', join(folder, 'a.tar'), '-C', target, '--numeric-owner', '--no-same-owner']);
  await expectTree(target);
  expect((await lstat(join(target, 'top/again'))).ino).toBe((await lstat(join(target, 'top/plain.txt'))).ino);
  expect((await lstat(join(target, 'top/setuid'))).mode & 0o7777).toBe(0o4755);
  expect((await lstat(join(target, 'old'))).mtimeMs).toBe(-86_400_000);
  expect((await lstat(join(target, 'late'))).mtimeMs).toBe(4_000_000_000_000);
  const { stdout } = await run('tar', ['-tvf', join(folder, 'a.tar'), '--numeric-owner']);
  expect(stdout).toContain('4000000000/0');
});

test('a zip is unpacked by Python as it was put in', async () => {
  const target = await mkdtemp(join(folder, 'zip-'));
  await writeFile(join(folder, 'a.zip'), await written(createZipWriter(), entries(false)));
  // Python's extractall knows no modes, times and links: they are read from the list.
  const program = `
import json, os, sys, zipfile, time, stat
archive = zipfile.ZipFile(sys.argv[1])
assert archive.testzip() is None
for info in archive.infolist():
    mode = info.external_attr >> 16
    path = os.path.join(sys.argv[2], info.filename)
    if stat.S_ISLNK(mode):
        os.symlink(archive.read(info).decode(), path)
        continue
    archive.extract(info, sys.argv[2])
    os.chmod(path, stat.S_IMODE(mode))
    extra, at = info.extra, 0
    while at + 4 <= len(extra):
        kind, size = int.from_bytes(extra[at:at+2], 'little'), int.from_bytes(extra[at+2:at+4], 'little')
        if kind == 0x5455:
            seconds = int.from_bytes(extra[at+5:at+9], 'little', signed=True)
            os.utime(path, (seconds, seconds))
        at += 4 + size
`;
  await run('python3', ['-c', program, join(folder, 'a.zip'), target]);
  await expectTree(target);
});

test('many entries without a body do not pile up in memory, and all arrive', async () => {
  const count = 50_000;
  let addedCount = 0;
  const writer = createTarWriter();
  const filling = (async () => {
    for (; addedCount < count; addedCount++) {
      await writer.add({ ...plain, name: `folder ${addedCount}`, mode: 0o755, content: { kind: 'folder' } }, never);
    }
    writer.end();
  })();
  await new Promise((resolve) => setTimeout(resolve, 300));
  expect(addedCount).toBeLessThan(count);
  let sizeBytes = 0;
  for await (const part of writer.output) sizeBytes += part.length;
  await filling;
  expect(sizeBytes).toBe(count * 512 + 1024);
});

test.each(['tar', 'zip'] as const)(
  'thousands of entries without a body behind a file that is still packed are all in the %s',
  async (format) => {
    const folders = Array.from({ length: 20_000 }, (_, nth): ArchiveEntry => ({
      ...plain,
      name: `folder ${nth}`,
      content: { kind: 'folder' },
    }));
    const archive = await written(format === 'tar' ? createTarWriter() : createZipWriter(), [
      file('first', randomBytes(2_000_000)),
      ...folders,
    ]);
    await writeFile(join(folder, `many.${format}`), archive);
    const program =
      'import sys, tarfile, zipfile\nz = sys.argv[1].endswith("zip")\n' +
      'print(len(zipfile.ZipFile(sys.argv[1]).namelist() if z else tarfile.open(sys.argv[1]).getnames()))';
    const { stdout } = await run('python3', ['-c', program, join(folder, `many.${format}`)]);
    expect(stdout.trim()).toBe('20001');
  },
);

test.each(['tar', 'zip'] as const)('a body that fails or has another size than was said makes the %s fail', async (format) => {
  const writerOf = () => (format === 'tar' ? createTarWriter() : createZipWriter());
  const failing = async function* (): AsyncGenerator<Uint8Array> {
    yield await Promise.resolve(Buffer.from('begun'));
    throw new Error('the blob is damaged');
  };
  const short = file('short', 'abc');
  const bodies: [ArchiveEntry, string | RegExp][] = [
    [{ ...plain, name: 'x', content: { kind: 'file', sizeBytes: 100, body: failing() } }, 'the blob is damaged'],
    [{ ...short, content: { ...short.content, sizeBytes: 10 } as ArchiveEntry['content'] }, /size|bytes/iu],
  ];
  for (const [entry, message] of bodies) {
    const writer = writerOf();
    const reading = (async () => {
      for await (const part of writer.output) expect(part.length).toBeGreaterThan(0);
    })();
    const adding = writer.add(entry, never).then(
      () => writer.end(),
      (error: Error) => {
        writer.destroy(error);
        throw error;
      },
    );
    const outcomes = await Promise.allSettled([adding, reading]);
    const failed = outcomes.find((outcome) => outcome.status === 'rejected');
    expect(String(failed?.reason)).toMatch(message);
  }
});

test('names that would lead elsewhere are no names for an archive', () => {
  for (const path of ['/..', '/a/../b', '/a/..', '/.', '//etc/passwd', '/a//b', '/a\0b', 'etc', '/']) {
    expect(archiveNameOf(path, 'tar').kind, path).toBe('unsafe');
    expect(archiveNameOf(path, 'zip').kind, path).toBe('unsafe');
  }
  expect(archiveNameOf('/a/b', 'tar')).toEqual({ kind: 'safe', name: 'a/b', isRenamed: false });
  expect(archiveNameOf(String.raw`/..\..\evil`, 'tar')).toEqual({ kind: 'safe', name: String.raw`..\..\evil`, isRenamed: false });
  expect(archiveNameOf(String.raw`/..\..\evil`, 'zip')).toEqual({ kind: 'safe', name: '..%5C..%5Cevil', isRenamed: true });
  expect(archiveNameOf('/caf\udce9', 'tar')).toEqual({ kind: 'safe', name: 'caf%E9', isRenamed: true });
});
