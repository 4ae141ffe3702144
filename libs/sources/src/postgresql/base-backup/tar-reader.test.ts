import fc from 'fast-check';
import { expect, test } from 'vitest';
import { tarArchive, tarHeader, type ArchivedFile } from '../testing/tar-archive.ts';
import { TarReader, type SliceSource, type TarEntry } from './tar-reader.ts';

const files = fc.array(
  fc.record({
    name: fc.stringMatching(/^[a-z]{1,20}(\/[a-z0-9._]{1,8}x){0,3}$/u),
    content: fc.uint8Array({ maxLength: 3_000 }),
    mode: fc.nat(0o7777),
    modifiedS: fc.nat(2 ** 33),
  }),
  { maxLength: 6 },
);

test('wherever it is cut, the same entries and contents come', async () => {
  await fc.assert(
    fc.asyncProperty(files, fc.array(fc.nat(20_000)), fc.boolean(), async (expected, cuts, hasEnd) => {
      const read = await readAll(sliced(tarArchive(expected, hasEnd), cuts));
      expect(read.map(({ entry }) => entry)).toEqual(
        expected.map(({ name, content, mode, modifiedS }) => ({
          kind: 'file',
          path: name,
          mode,
          modifiedS,
          sizeBytes: content.length,
          linkTarget: '',
        })),
      );
      expect(read.map(({ content }) => [...content])).toEqual(expected.map(({ content }) => [...content]));
    }),
    { numRuns: 60 },
  );
});

test('folders, links and sizes beyond eleven octal digits', async () => {
  const archive = tarArchive([
    { name: 'base/', type: '5', mode: 0o700 },
    { name: './pg_tblspc/16384', type: '2', linkTarget: '/srv/space' },
  ]);
  const read = await readAll(sliced(archive, []));
  expect(read.map(({ entry }) => entry)).toMatchObject([
    { kind: 'directory', path: 'base', mode: 0o700, sizeBytes: 0 },
    { kind: 'symlink', path: 'pg_tblspc/16384', linkTarget: '/srv/space' },
  ]);
  const huge = new TarReader(sliced(tarHeader({ name: 'huge', sizeBytes: 9 * 1024 ** 3 }), []));
  expect(await huge.next()).toMatchObject({ sizeBytes: 9 * 1024 ** 3 });
});

const one: ArchivedFile = { name: 'file', content: Buffer.alloc(700, 'x') };
test.each([
  ['cut within a header', tarArchive([one]).subarray(0, 100)],
  ['cut within a file', tarArchive([one]).subarray(0, 600)],
  ['cut within the padding', tarArchive([one]).subarray(0, 512 + 800)],
  ['with more after its end', Buffer.concat([tarArchive([one]), Buffer.from('more')])],
  ['with a flipped bit', flipped(tarArchive([one]), 125)],
  ['of a device', flipped(tarArchive([{ ...one, type: '2' }]), 0)],
  ['that climbs out', tarArchive([{ name: '../outside' }])],
  ['that climbs out in the middle', tarArchive([{ name: 'base/../../outside' }])],
  ['of an absolute path', tarArchive([{ name: '/etc/passwd' }])],
  ['without a name', tarArchive([{ name: '', mode: 0o777 }])],
])('an archive %s is refused', async (_, archive) => {
  await expect(readAll(sliced(archive, []))).rejects.toThrow(expect.objectContaining({ code: 'postgresql_stream_damaged' }));
});

function flipped(archive: Buffer, at: number): Buffer {
  archive[at] = (archive[at] ?? 0) ^ 1;
  return archive;
}

async function readAll(source: SliceSource): Promise<{ entry: TarEntry; content: Buffer }[]> {
  const tar = new TarReader(source);
  const read: { entry: TarEntry; content: Buffer }[] = [];
  for (let entry = await tar.next(); entry !== null; entry = await tar.next()) {
    // In one go, and what is there in pieces.
    const first = Buffer.alloc(Math.min(1_000, entry.sizeBytes));
    const rest = Buffer.alloc(Math.max(entry.sizeBytes - first.length, 0) + 1);
    expect(await tar.read(first)).toBe(first.length);
    const restBytes = await tar.read(rest);
    expect(await tar.read(rest.subarray(restBytes))).toBe(0);
    read.push({ entry, content: Buffer.concat([first, rest.subarray(0, restBytes)]) });
  }
  return read;
}

function sliced(bytes: Buffer, cuts: readonly number[]): SliceSource {
  const at = [0, ...cuts.filter((cut) => cut < bytes.length), bytes.length].toSorted((a, b) => a - b);
  const slices = at
    .slice(1)
    .map((end, index) => bytes.subarray(at[index], end))
    .filter((slice) => slice.length > 0);
  // Some have arrived, for others it has to wait.
  let count = 0;
  return { nextSlice: async () => slices.shift() ?? null, takeSlice: () => (count++ % 3 === 0 ? null : (slices.shift() ?? null)) };
}
