import { openLocalStorage } from '@holdfast/storage/local/local-storage';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createRepository } from './create-repository.ts';
import { addKey, changePassword, listKeys, removeKey } from './keys.ts';
import { openRepository } from './repository.ts';
import { findStockRestics } from './testing/stock-restic.ts';
import { archiveTree, cheapKdf as kdf, text } from './testing/test-repository.ts';

const { found } = await findStockRestics();
let place = '';
beforeAll(async () => {
  place = await mkdtemp(`${tmpdir()}/holdfast-keys-`);
});
afterAll(() => rm(place, { recursive: true, force: true }));

describe.each(found)('keys with $name ($version)', (restic) => {
  it('that we add open for it, and those that it adds open for us', async () => {
    const path = `${place}/${restic.version}`;
    const storage = await openLocalStorage({ path });
    await using repository = await createRepository({ storage, password: 'secret', hostname: 'host', username: 'ann', kdf });
    await archiveTree(repository, { file: text('content') });
    await addKey({ repository, password: 'ours', username: 'bob', hostname: 'desk', kdf });
    expect(await restic.run(path, ['check', '--read-data'], { password: 'ours' })).toContain('no errors were found');
    expect(await restic.run(path, ['key', 'list'], { password: 'ours' })).toMatch(/\*.*bob.*desk/);

    await writeFile(`${place}/password`, 'theirs\n');
    await restic.run(path, ['key', 'add', '--new-password-file', `${place}/password`]);
    await using byTheirs = await openRepository({ storage: await openLocalStorage({ path }), password: 'theirs' });
    expect(await listKeys({ repository: byTheirs })).toHaveLength(3);
    await removeKey({ repository: byTheirs, id: repository.keyId ?? '' });
    await expect(restic.run(path, ['snapshots'])).rejects.toThrow('wrong password');

    await changePassword({ repository: byTheirs, password: 'changed', kdf });
    await expect(restic.run(path, ['snapshots'], { password: 'theirs' })).rejects.toThrow('wrong password');
    expect(await restic.run(path, ['check', '--read-data'], { password: 'changed' })).toContain('no errors were found');
    await writeFile(`${place}/password`, 'again\n');
    await restic.run(path, ['key', 'passwd', '--new-password-file', `${place}/password`], { password: 'changed' });
    await using last = await openRepository({ storage: await openLocalStorage({ path }), password: 'again' });
    expect(await listKeys({ repository: last })).toHaveLength(2);
  });
});
