import { execFile } from 'node:child_process';
import { chown, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { openLocalStorage } from '@holdfast/storage/local/local-storage';
import { expect, it } from 'vitest';
import { processUser } from './process-user.ts';
import { createTestRepository } from './testing/test-repository.ts';

/** Has no entry in the user table of any machine that runs tests. */
const namelessId = 12_345;

/** In a process of that user, whose group is another number. */
async function asNameless(program: string): Promise<unknown> {
  const account = [`--reuid=${namelessId}`, `--regid=${namelessId + 1}`, '--clear-groups'];
  const { stdout } = await promisify(execFile)('setpriv', [...account, process.execPath, '--input-type=module', '--eval', program], {
    env: { PATH: process.env['PATH'], NODE_NO_WARNINGS: '1' },
  });
  return JSON.parse(stdout);
}

const moduleUrl = (name: string): string => JSON.stringify(new URL(name, import.meta.url).href);

it('is who the user table says', () => {
  const { username, uid, gid } = userInfo();
  expect(processUser()).toEqual({ username, uid, gid });
});

it.runIf(process.geteuid?.() === 0)('is a number where the user table says nothing, as in a container with any uid', async () => {
  const program = `import { processUser } from ${moduleUrl('process-user.ts')}; console.log(JSON.stringify(processUser()));`;
  expect(await asNameless(program)).toEqual({ username: 'uid 12345', uid: namelessId, gid: namelessId + 1 });
});

it.runIf(process.geteuid?.() === 0)('lets a user without a name lock a repository and add a key', async () => {
  const path = await mkdtemp(join(tmpdir(), 'holdfast-nameless-'));
  try {
    await createTestRepository(await openLocalStorage({ path }));
    await promisify(execFile)('chown', ['-R', String(namelessId), path]);
    await chown(path, namelessId, namelessId);
    const program = `
      import { openLocalStorage } from ${JSON.stringify(import.meta.resolve('@holdfast/storage/local/local-storage'))};
      import { addKey, listKeys } from ${moduleUrl('keys.ts')};
      import { findConflict } from ${moduleUrl('lock-list.ts')};
      import { acquireLock } from ${moduleUrl('lock.ts')};
      import { impatientClock as clock, openTestRepository, cheapKdf as kdf } from ${moduleUrl('testing/test-repository.ts')};
      const repository = await openTestRepository(await openLocalStorage({ path: ${JSON.stringify(path)} }));
      const lock = await acquireLock(repository, { exclusive: false, clock });
      const own = { hostname: '', username: '', pid: 0, since: new Date() };
      const held = await findConflict(repository, true, null, { own, now: new Date() });
      await lock.release();
      await addKey({ repository, password: 'another', kdf, clock });
      console.log(JSON.stringify({ holder: held.holder, users: (await listKeys({ repository })).map(({ username }) => username) }));`;
    const { holder, users } = (await asNameless(program)) as { holder: unknown; users: string[] };
    expect(holder).toMatchObject({ username: 'uid 12345', uid: namelessId, gid: namelessId + 1 });
    expect(users).toContain('uid 12345');
  } finally {
    await rm(path, { recursive: true });
  }
});
