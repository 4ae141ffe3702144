// `npm run check`: everything about the sources that can be judged without a running system.
//   npm run check                  all steps
//   npm run check -- lint types    these steps
import { join } from 'node:path';
import { availableParallelism } from 'node:os';
import { type Step, report, runSteps } from './check/run-steps.ts';

/** Two at a time even on a large machine: three of the steps use several cores themselves. */
const maxParallelSteps = 2;

const documentTests = ['architecture', 'docs', 'env-example'].map((name) => `tests/${name}.test.ts`);

// The longest first, so that no step is left running alone at the end.
const allSteps: readonly Step[] = [
  {
    name: 'drift',
    command: ['node', 'scripts/migration.ts', 'check'],
    holds: 'prisma/migrations make exactly what prisma/schema.prisma says',
  },
  { name: 'lint', command: ['oxlint', '--type-aware'], holds: 'rules of .oxlintrc.json' },
  { name: 'knip', command: ['knip', '--no-progress'], holds: 'no file, export or dependency that nothing uses' },
  {
    name: 'architecture',
    command: ['vitest', 'run', '--project', 'unit', '--reporter', 'dot', ...documentTests],
    holds: 'import table, house rules, documents',
  },
  { name: 'types', command: ['tsc', '-p', 'tsconfig.json'], holds: 'TypeScript, strict' },
  { name: 'format', command: ['oxfmt', '--check'], holds: 'layout of .oxfmtrc.json' },
];

const wanted = process.argv.slice(2);
const unknown = wanted.filter((name) => !allSteps.some((step) => step.name === name));
if (unknown.length > 0) {
  console.error(`there is no step ${unknown.join(', ')}; there are ${allSteps.map((step) => step.name).join(', ')}`);
  process.exit(2);
}

const interrupted = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => interrupted.abort());

const startedAtMs = performance.now();
const results = await runSteps(
  allSteps.filter((step) => wanted.length === 0 || wanted.includes(step.name)),
  {
    folder: join(import.meta.dirname, '..'),
    maxParallel: Math.min(maxParallelSteps, availableParallelism()),
    signal: interrupted.signal,
    onEnd: (result) => console.error(`${result.ok ? 'ok  ' : 'FAIL'} ${result.step.name}`),
  },
);
console.log(report(results, performance.now() - startedAtMs));
process.exitCode = results.every((result) => result.ok) ? 0 : 1;
