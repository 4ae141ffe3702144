import { createHash } from 'node:crypto';

/**
 * Which worker is asked about a repository: for each repository the workers have an order of their own (rendezvous hashing), so that one
 * repository is always looked into by the same worker, whose caches know it, and many repositories are spread over all. When a worker comes or
 * goes, only what it held moves.
 *
 * `reaches`: whether a worker can get at the repository at all; those that cannot are left out.
 */
export function workersInTurn<W extends { readonly id: string }>(
  workers: readonly W[],
  repositoryId: string,
  reaches: (worker: W) => boolean = () => true,
): W[] {
  const weighed = workers.filter((worker) => reaches(worker)).map((worker) => ({ worker, weight: weightOf(worker.id, repositoryId) }));
  return weighed.toSorted((a, b) => Buffer.compare(b.weight, a.weight)).map(({ worker }) => worker);
}

function weightOf(workerId: string, repositoryId: string): Buffer {
  return createHash('sha256').update(`${repositoryId}\n${workerId}`).digest();
}
