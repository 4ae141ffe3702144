import { repositoryWorkerLabel } from '@holdfast/policy/routing';
import type { Transaction } from './open-database.ts';

/** The label of runs that are of a whole repository, of each of these; null for any worker. A repository that is not there has none. */
export async function repositoryLabels(rows: Transaction, repositoryIds: readonly string[]): Promise<ReadonlyMap<string, string | null>> {
  const configs = { where: { deletedAt: null }, select: { workerLabel: true } } as const;
  const found = await rows.repository.findMany({
    where: { id: { in: [...repositoryIds] } },
    select: { id: true, storageLocation: true, backupConfigs: configs },
  });
  return new Map(
    found.map(({ id, storageLocation, backupConfigs }) => [
      id,
      repositoryWorkerLabel({
        isLocalFolder: storageLocation === 'local',
        configLabels: backupConfigs.map(({ workerLabel }) => workerLabel),
      }),
    ]),
  );
}
