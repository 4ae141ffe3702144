// A recovery that is killed when its first files are whole, as a process: killed-restore.ts REPOSITORY SNAPSHOT TARGET POLICY
import { openFileSystemTarget } from '@holdfast/sources/file-system-target';
import { openLocalStorage } from '@holdfast/storage/local/local-storage';
import type { OverwritePolicy } from '../overwrite-policy.ts';
import { restore } from '../restorer.ts';
import { impatientClock as clock, openTestRepository } from './test-repository.ts';

const [repositoryPath = '', snapshotId = '', path = '', overwrite = 'if-changed'] = process.argv.slice(2);
const repository = await openTestRepository(await openLocalStorage({ path: repositoryPath }));
const target = openFileSystemTarget({ path, roots: [path], overwrite: true });
await restore({
  repository,
  snapshotId,
  target,
  clock,
  overwrite: overwrite as OverwritePolicy,
  concurrency: 2,
  onProgress: (progress) => {
    if (progress.phase === 'restoring' && progress.filesDone > 0) process.kill(process.pid, 'SIGKILL');
  },
});
