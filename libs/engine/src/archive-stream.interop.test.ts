import { createHash } from 'node:crypto';
import { lstat, mkdtemp, readFile, readlink, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openLocalStorage } from '@holdfast/storage/local/local-storage';
import { expect, it, onTestFinished } from 'vitest';
import { archiveStream } from './archive-stream.ts';
import type { StreamNode } from './archive-stream/received-folder.ts';
import type { StreamSink } from './archive-stream/stream-tree.ts';
import { findStockRestics } from './testing/stock-restic.ts';
import { createTestRepository } from './testing/test-repository.ts';

const { found, missing } = await findStockRestics();

it.skipIf(missing.length > 0)(`stock restic is here (missing: ${missing.join(', ') || 'none'})`, () => {
  expect(found).toHaveLength(2);
});

const timeNs = 1_600_000_000_123_456_789n;
const nodeOf = (type: StreamNode['type'], mode: number, more: Partial<StreamNode> = {}): StreamNode => ({
  type,
  mode,
  modifiedNs: timeNs,
  accessedNs: timeNs,
  changedNs: timeNs,
  uid: 0,
  gid: 0,
  inode: 0n,
  deviceId: 0n,
  linkCount: 1n,
  ...more,
});

/** 300 MB in pieces, of which every second one is the same. */
async function* large(): AsyncGenerator<Uint8Array> {
  const piece = Buffer.alloc(60_000);
  for (let nth = 0; nth < 5000; nth++) yield piece.fill(nth % 2 === 0 ? 'page ' : createHash('sha256').update(String(nth)).digest());
}

it.each([
  ['threads', {}],
  ['no threads', { concurrency: 0 }],
])(
  'restic checks and restores what came as a stream and was stored by %s',
  async (_name, how) => {
    const place = await mkdtemp(join(tmpdir(), 'holdfast-stream-'));
    onTestFinished(() => rm(place, { recursive: true, force: true }));
    const path = join(place, 'repository');
    await using repository = await createTestRepository(await openLocalStorage({ path }));
    const receive = async (sink: StreamSink): Promise<void> => {
      await sink.addFile('/pg/base/large', nodeOf('file', 0o600), large());
      for (let nth = 0; nth < 3000; nth++)
        await sink.addFile(
          `/pg/base/${nth % 7}/${nth}`,
          nodeOf('file', 0o640),
          (async function* () {
            if (nth > 0) yield Buffer.from(`file ${nth}`);
          })(),
        );
      await sink.add('/pg/pg_tblspc/16400', nodeOf('symlink', 0o777, { linkTarget: '/mnt/fast' }));
      await sink.add('/pg/odd "\n ü', nodeOf('dir', 0o750));
      for (const folder of ['/pg/pg_tblspc', '/pg/base', '/pg']) await sink.add(folder, nodeOf('dir', 0o700));
    };
    const { snapshotId } = await archiveStream({ repository, paths: ['/pg'], hostname: 'host', username: 'ann', receive, ...how });
    const whole = createHash('sha256');
    for await (const piece of large()) whole.update(piece);
    const expected = whole.digest('hex');
    for (const restic of found) {
      expect(await restic.run(path, ['check', '--read-data'])).toContain('no errors were found');
      const target = join(place, restic.version);
      await restic.run(path, ['restore', snapshotId, '--target', target]);
      expect(
        createHash('sha256')
          .update(await readFile(`${target}/pg/base/large`))
          .digest('hex'),
      ).toBe(expected);
      for (const nth of [0, 1, 2999]) {
        const restored = `${target}/pg/base/${nth % 7}/${nth}`;
        expect(await readFile(restored, 'utf8')).toBe(nth > 0 ? `file ${nth}` : '');
        expect(await lstat(restored, { bigint: true })).toMatchObject({ mode: 0o100640n, mtimeNs: timeNs });
      }
      expect(await readlink(`${target}/pg/pg_tblspc/16400`)).toBe('/mnt/fast');
      expect(await lstat(`${target}/pg/odd "\n ü`, { bigint: true })).toMatchObject({ mode: 0o040750n, mtimeNs: timeNs });
    }
  },
  120_000,
);
