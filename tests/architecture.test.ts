// The architecture of docs/architecture.md and the house rules of docs/style.md, held against the workspace as it is on disk.
// Every rule is also shown a made-up violation, so that a rule that has gone blind fails here.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { fileViolations, maxFileLines } from './architecture/file-rules.ts';
import { importViolations, manifestViolations, unusedDependencies, usedUnseen } from './architecture/import-rules.ts';
import { importTable, mayImport, tableInCode, tableInMarkdown } from './architecture/import-table.ts';
import { parseModule } from './architecture/parse-module.ts';
import { type SourceText, type WorkspacePackage, readPackages, readSources, readWorkspaceTools } from './architecture/read-workspace.ts';

const root = join(import.meta.dirname, '..');
const packages = readPackages(root);

function madeUp(name: string, files: readonly SourceText[], dependencies: readonly string[] = []): WorkspacePackage {
  return { name, folder: `libs/${name}`, dependencies, devDependencies: [], files };
}

describe('the workspace', () => {
  test('has a row in the import table for every package, and nothing else', () => {
    expect(packages.map(({ name }) => name).toSorted()).toEqual(Object.keys(importTable).toSorted());
  });

  test('imports only what the table allows', () => {
    expect(importViolations(importTable, packages, readWorkspaceTools(root))).toEqual([]);
  });

  test('declares only what the table allows', () => {
    expect(manifestViolations(importTable, packages)).toEqual([]);
  });

  test('uses every dependency that it declares', () => {
    expect(unusedDependencies(packages)).toEqual([]);
  });

  test('names no dependency as used unseen that is not declared', () => {
    const declared = new Set(packages.flatMap((owner) => [...owner.dependencies, ...owner.devDependencies]));
    expect(Object.keys(usedUnseen).filter((name) => !declared.has(name))).toEqual([]);
  });

  test('has no barrel, no default export, no empty name and no long file without a reason', () => {
    const files = [...packages.flatMap((owner) => owner.files), ...readSources(root, 'scripts'), ...readSources(root, 'tests')];
    expect(files.flatMap(fileViolations)).toEqual([]);
  });

  test('is described by the same table in docs/architecture.md', () => {
    const markdown = readFileSync(join(root, 'docs/architecture.md'), 'utf8');
    expect(tableInMarkdown(markdown)).toEqual(tableInCode(importTable));
  });
});

describe('the import rule sees', () => {
  const cases: [string, WorkspacePackage, string][] = [
    [
      'a package that the table does not allow',
      madeUp('storage', [{ path: 'libs/storage/src/a.ts', text: "import { openRepository } from '@holdfast/engine/repository';" }]),
      'libs/storage/src/a.ts must not import @holdfast/engine/repository',
    ],
    [
      'a type of such a package',
      madeUp('policy', [{ path: 'libs/policy/src/a.ts', text: "export type Row = import('@holdfast/database/rows').Row;" }]),
      'libs/policy/src/a.ts must not import @holdfast/database/rows',
    ],
    [
      'a dynamic import of such a package',
      madeUp('errors', [{ path: 'libs/errors/src/a.ts', text: "export const load = () => import('@holdfast/jobs/queues');" }]),
      'libs/errors/src/a.ts must not import @holdfast/jobs/queues',
    ],
    [
      'a module that is not among the allowed ones of its package',
      madeUp('engine', [{ path: 'libs/engine/src/a.ts', text: "import { nextRun } from '@holdfast/policy/schedule';" }]),
      'libs/engine/src/a.ts must not import @holdfast/policy/schedule',
    ],
    [
      'a testing module in code that runs in production',
      madeUp('engine', [{ path: 'libs/engine/src/a.ts', text: "import { faulty } from '@holdfast/storage/testing/faulty-storage';" }]),
      'libs/engine/src/a.ts must not import @holdfast/storage/testing/faulty-storage',
    ],
    [
      'an app in a library',
      madeUp('jobs', [{ path: 'libs/jobs/src/a.test.ts', text: "import { buildServer } from '@holdfast/api/server';" }]),
      'libs/jobs/src/a.test.ts must not import @holdfast/api/server',
    ],
    [
      'a relative path out of the package',
      madeUp('jobs', [{ path: 'libs/jobs/src/a.ts', text: "export { x } from '../../errors/src/invariant.ts'; export const y = 1;" }]),
      'libs/jobs/src/a.ts leaves its package: ../../errors/src/invariant.ts',
    ],
    [
      'a dependency that is not declared',
      madeUp('jobs', [{ path: 'libs/jobs/src/a.ts', text: "import { Queue } from 'bullmq';" }], ['ioredis']),
      'libs/jobs/src/a.ts imports bullmq, which libs/jobs/package.json does not declare',
    ],
    [
      'a built-in module without node:',
      madeUp('jobs', [{ path: 'libs/jobs/src/a.ts', text: "import { join } from 'path';" }]),
      'libs/jobs/src/a.ts imports path without node:',
    ],
  ];
  test.each(cases)('%s', (_, owner, violation) => {
    expect(importViolations(importTable, [owner])).toEqual([violation]);
  });

  test('that a test may use a testing module of a package that its own may import, and no other', () => {
    expect(mayImport(importTable, 'engine', 'storage/testing/faulty-storage', true)).toBe(true);
    expect(mayImport(importTable, 'engine', 'database/testing/open-test-database', true)).toBe(false);
    expect(mayImport(importTable, 'made-up', 'errors/invariant', false)).toBe(false);
  });
});

describe('the manifest rules see', () => {
  test('a workspace package that the table does not allow', () => {
    const owner = madeUp('storage', [], ['@holdfast/errors', '@holdfast/database']);
    expect(manifestViolations(importTable, [owner])).toEqual(['libs/storage/package.json must not name @holdfast/database']);
  });

  test('a package without a row', () => {
    expect(manifestViolations(importTable, [madeUp('made-up', [])])).toEqual(['libs/made-up has no row in the import table']);
  });

  test('a dependency that nothing imports, and a type package whose package is imported', () => {
    const owner = madeUp('jobs', [{ path: 'libs/jobs/src/a.ts', text: "import pg from 'pg';" }], ['pg', '@types/pg', 'zod']);
    expect(unusedDependencies([owner])).toEqual(['libs/jobs/package.json names zod, which nothing there imports']);
  });
});

describe('the file rule sees', () => {
  const cases: [string, SourceText, string][] = [
    ['a barrel', { path: 'libs/a/src/b.ts', text: "export * from './c.ts';" }, 'libs/a/src/b.ts is a barrel: it only re-exports'],
    [
      'a barrel through imports',
      { path: 'libs/a/src/b.ts', text: "import { c } from './c.ts';\nexport { c };" },
      'libs/a/src/b.ts is a barrel: it only re-exports',
    ],
    ['a default export', { path: 'libs/a/src/b.ts', text: 'export default 1;' }, 'libs/a/src/b.ts has a default export'],
    [
      'a default export by name',
      { path: 'libs/a/src/b.ts', text: 'const c = 1; export { c as default };' },
      'libs/a/src/b.ts has a default export',
    ],
    ['an index file', { path: 'libs/a/src/index.ts', text: '' }, 'libs/a/src/index.ts has a name that says nothing: index'],
    ['a file of types', { path: 'libs/a/src/types.ts', text: '' }, 'libs/a/src/types.ts has a name that says nothing: types'],
    ['an empty file name', { path: 'libs/a/src/b-utils.ts', text: '' }, 'libs/a/src/b-utils.ts has a name that says nothing: utils'],
    ['an empty folder name', { path: 'libs/a/src/shared/b.ts', text: '' }, 'libs/a/src/shared/b.ts has a name that says nothing: shared'],
    ['a file not in kebab-case', { path: 'libs/a/src/openRow.ts', text: '' }, 'libs/a/src/openRow.ts is not in kebab-case'],
    [
      'an empty name of an export',
      { path: 'libs/a/src/b.ts', text: 'export class LockManager {}' },
      'libs/a/src/b.ts exports a name that says nothing: LockManager',
    ],
    [
      'a long file',
      { path: 'libs/a/src/b.ts', text: `// Short head.\n${'f();\n'.repeat(maxFileLines)}` },
      `libs/a/src/b.ts has ${maxFileLines + 1} lines and no sentence "Long because …" at its head`,
    ],
  ];
  test.each(cases)('%s', (_, file, violation) => {
    expect(fileViolations(file)).toEqual([violation]);
  });

  test('no fault in a long file that says why, nor in a config file that its tool reads', () => {
    const long = `// The state table.\n// Long because the table is one.\n${'f();\n'.repeat(maxFileLines)}`;
    expect(fileViolations({ path: 'libs/a/src/b.ts', text: long })).toEqual([]);
    expect(fileViolations({ path: 'apps/a/vite.config.ts', text: 'export default {};' })).toEqual([]);
  });
});

test('the parser finds literal resolve calls, of import.meta and of require only', () => {
  const text = "import.meta.resolve('a'); require.resolve('b/package.json'); path.resolve('c'); import.meta.resolve(`d${e}`);";
  expect(parseModule(text).imports).toEqual(['a', 'b/package.json']);
});
