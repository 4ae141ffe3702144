import { expect, test } from 'vitest';
import { workersInTurn } from './worker-choice.ts';

const workers = Array.from({ length: 5 }, (_, number) => ({ id: `worker-${number}` }));
const repositories = Array.from({ length: 500 }, (_, number) => `repository-${number}`);
const firstFor = (of: readonly { id: string }[], repository: string) => workersInTurn(of, repository)[0]?.id;

test('every worker is in the order once, and the order of a repository does not depend on that of the rows', () => {
  const order = workersInTurn(workers, 'r').map(({ id }) => id);
  expect(order.toSorted()).toEqual(workers.map(({ id }) => id));
  expect(workersInTurn(workers.toReversed(), 'r').map(({ id }) => id)).toEqual(order);
});

test('repositories are spread over the workers', () => {
  const counts = Map.groupBy(repositories, (repository) => firstFor(workers, repository));
  expect(counts.size).toBe(workers.length);
  for (const [worker, mine] of counts) expect(mine.length, worker).toBeGreaterThan(50);
});

test('when a worker goes, only what it held moves, and to the one that was next', () => {
  const [gone, ...rest] = workers;
  for (const repository of repositories) {
    const [first, second] = workersInTurn(workers, repository);
    expect(firstFor(rest, repository)).toBe(first === gone ? second?.id : first?.id);
  }
});

test('who cannot reach the repository is not asked', () => {
  expect(workersInTurn(workers, 'r', ({ id }) => id === 'worker-3')).toEqual([{ id: 'worker-3' }]);
  expect(workersInTurn(workers, 'r', () => false)).toEqual([]);
});
