// A recovery by whoever runs it, as a process: restore-as.ts REPOSITORY SNAPSHOT TARGET OPTIONS, prints the result as JSON.
import { openFileSystemTarget } from '@holdfast/sources/file-system-target';
import { openLocalStorage } from '@holdfast/storage/local/local-storage';
import { restore, type RestoreOptions } from '../restorer.ts';
import { impatientClock as clock, openTestRepository } from './test-repository.ts';

const [repositoryPath = '', snapshotId = '', path = '', options = '{}'] = process.argv.slice(2);
const repository = await openTestRepository(await openLocalStorage({ path: repositoryPath }));
const target = openFileSystemTarget({ path, roots: [path], overwrite: true });
const given = JSON.parse(options) as Partial<RestoreOptions>;
const result = await restore({ repository, snapshotId, target, clock, listsRefused: true, ...given });
process.stdout.write(`${JSON.stringify(result)}\n`);
