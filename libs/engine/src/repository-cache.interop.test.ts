import { openFileSystemSource } from '@holdfast/sources/file-system-source';
import { openLocalStorage } from '@holdfast/storage/local/local-storage';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { archive } from './archiver.ts';
import { createRepository } from './create-repository.ts';
import { openRepositoryCache } from './repository-cache.ts';
import { findStockRestics } from './testing/stock-restic.ts';
import { cheapKdf, noise } from './testing/test-repository.ts';

const { found } = await findStockRestics();
let folder = '';
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'holdfast-warm-'));
});
afterAll(() => rm(folder, { recursive: true }));

describe.each(found)('$name $version', (restic) => {
  it('prunes between two warm backups, and the second one stores again what went', async () => {
    const path = join(folder, restic.version);
    const source = await mkdtemp(join(folder, 'source-'));
    await createRepository({ storage: await openLocalStorage({ path }), password: 'secret', hostname: 'h', username: 'u', kdf: cheapKdf });
    using cache = openRepositoryCache();
    const backUp = async () => {
      await using repository = await cache.open({ storage: await openLocalStorage({ path }), password: 'secret' });
      const opened = await openFileSystemSource({ paths: [source], roots: [source] });
      return await archive({ repository, source: opened, hostname: 'h', username: 'u' });
    };
    await writeFile(join(source, 'stays'), noise(30_000, 1));
    await writeFile(join(source, 'goes and comes'), noise(40_000, 2));
    const first = await backUp();
    await rm(join(source, 'goes and comes'));
    await backUp();
    await restic.run(path, ['forget', '--prune', '--max-unused', '0', first.snapshotId]);
    await writeFile(join(source, 'goes and comes'), noise(40_000, 2));
    const last = await backUp();
    expect(last.summary.dataBlobs).toBe(1);
    expect(cache.counts()).toMatchObject({ coldOpens: 1, warmOpens: 2, resets: 1 });
    await restic.run(path, ['check', '--read-data']);

    await restic.run(path, ['backup', source]);
    expect((await backUp()).summary.dataBlobs).toBe(0);
    expect(cache.counts()).toMatchObject({ coldOpens: 1, resets: 1 });
  });
});
