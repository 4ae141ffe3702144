import { openLocalStorage } from '@holdfast/storage/local/local-storage';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { copySnapshots } from './copy.ts';
import { createRepository } from './create-repository.ts';
import { openRepository, type Repository } from './repository.ts';
import { listSnapshots } from './snapshots.ts';
import { describeRealTree, makeRealTree } from './testing/real-tree.ts';
import { findStockRestics } from './testing/stock-restic.ts';
import { cheapKdf as kdf } from './testing/test-repository.ts';

const { found } = await findStockRestics();
let place = '';
let source = '';
beforeAll(async () => {
  place = await mkdtemp(`${tmpdir()}/holdfast-copy-`);
  source = `${place}/source`;
  await makeRealTree(source);
  await writeFile(`${place}/password`, 'secret\n');
});
afterAll(() => rm(place, { recursive: true, force: true }));

const openAt = async (path: string): Promise<Repository> =>
  await openRepository({ storage: await openLocalStorage({ path }), password: 'secret' });

describe.each(found)('copies with $name ($version)', (restic) => {
  it('of its repository in ours are whole, and each knows the copies of the other', async () => {
    const theirs = `${place}/theirs-${restic.version}`;
    const ours = `${place}/ours-${restic.version}`;
    await restic.run(theirs, ['init']);
    await restic.run(theirs, ['backup', '--tag', 'a,b', `${source}/sub`]);
    await restic.run(theirs, ['backup', source]);
    await using from = await openAt(theirs);
    const storage = await openLocalStorage({ path: ours });
    await using to = await createRepository({ storage, password: 'secret', hostname: 'host', username: 'ann', kdf });
    const result = await copySnapshots({ from, to });
    expect(result).toMatchObject({ alreadyThere: [], failed: [], copied: { length: 2 } });
    expect(await restic.run(ours, ['check', '--read-data'])).toContain('no errors were found');
    await restic.run(ours, ['restore', result.copied[1]?.to ?? '', '--target', `${place}/restored-${restic.version}`]);
    expect(await describeRealTree(`${place}/restored-${restic.version}${source}`)).toEqual(await describeRealTree(source));

    // It passes over what we have copied, and we over what it has.
    const fromArgs = ['--from-repo', theirs, '--from-password-file', `${place}/password`];
    await restic.run(ours, ['copy', ...fromArgs]);
    expect(await listSnapshots(to)).toHaveLength(2);
    const third = `${place}/third-${restic.version}`;
    await restic.run(third, ['init']);
    await restic.run(third, ['copy', ...fromArgs]);
    await using copyOfTheirs = await openAt(third);
    expect(await copySnapshots({ from, to: copyOfTheirs })).toMatchObject({ copied: [], blobsCopied: 0, alreadyThere: { length: 2 } });
  });
});
