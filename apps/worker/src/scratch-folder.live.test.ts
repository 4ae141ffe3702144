import { chmod, mkdir, readdir, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createLogger } from './logger.ts';
import { makeScratchFolder, sweepScratchFolders } from './scratch-folder.ts';
import { openWorkerFixture, type WorkerFixture } from './testing/worker-fixture.ts';
import { afterAll, beforeAll, expect, test } from 'vitest';

let fixture: WorkerFixture;
beforeAll(async () => {
  fixture = await openWorkerFixture('postgresql');
});
afterAll(() => fixture[Symbol.asyncDispose]());

const claim = { kind: 'verify', id: 'abc123', attempt: 1, fencingNumber: 3n } as const;
const logger = createLogger({ logLevel: 'silent', logPretty: false }, {});

test('a scratch folder is for its user alone and goes at the end, whatever is in it', async () => {
  const { scratchDir } = fixture.config;
  {
    await using scratch = await makeScratchFolder(scratchDir, claim, logger);
    expect((await stat(scratch.path)).mode & 0o777).toBe(0o700);
    await mkdir(join(scratch.path, 'closed'));
    await writeFile(join(scratch.path, 'closed', 'file'), 'x');
    await chmod(join(scratch.path, 'closed'), 0o500);
  }
  expect(await readdir(scratchDir)).toEqual([]);
});

test('the folders of dead tests are swept, and nothing else', async () => {
  const { scratchDir } = fixture.config;
  for (const name of ['dead1-7', 'dead2-1', 'somebody-elses', 'notes']) await mkdir(join(scratchDir, name), { recursive: true });
  expect(await sweepScratchFolders(scratchDir, fixture.database.db)).toBe(2);
  expect((await readdir(scratchDir)).toSorted()).toEqual(['notes', 'somebody-elses']);
});
