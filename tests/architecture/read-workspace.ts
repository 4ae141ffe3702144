/** Reads the workspace from disk into plain values, which the rules judge. */
import { existsSync, globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

export interface WorkspacePackage {
  /** `engine`, without the scope. */
  readonly name: string;
  /** `libs/engine`. */
  readonly folder: string;
  readonly dependencies: readonly string[];
  readonly devDependencies: readonly string[];
  readonly files: readonly SourceText[];
}

export interface SourceText {
  /** From the root of the repository, with `/`. */
  readonly path: string;
  readonly text: string;
}

interface Manifest {
  readonly name: string;
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly optionalDependencies?: Readonly<Record<string, string>>;
  readonly devDependencies?: Readonly<Record<string, string>>;
}

/** Every package below apps/ and libs/ with its sources. */
export function readPackages(root: string): WorkspacePackage[] {
  return globSync('{apps,libs}/*/package.json', { cwd: root })
    .toSorted()
    .map((path) => {
      const folder = path.slice(0, -'/package.json'.length);
      const manifest = readManifest(join(root, path));
      return {
        name: manifest.name.replace('@holdfast/', ''),
        folder,
        dependencies: [...Object.keys(manifest.dependencies ?? {}), ...Object.keys(manifest.optionalDependencies ?? {})],
        devDependencies: Object.keys(manifest.devDependencies ?? {}),
        files: readSources(root, `${folder}/src`),
      };
    });
}

/** Dependencies of the workspace itself: tools that every test may use. */
export function readWorkspaceTools(root: string): string[] {
  return Object.keys(readManifest(join(root, 'package.json')).devDependencies ?? {});
}

/** Every TypeScript and JavaScript file below `folder`. */
export function readSources(root: string, folder: string): SourceText[] {
  if (!existsSync(join(root, folder))) return [];
  return globSync('**/*.{ts,mts,mjs,js}', { cwd: join(root, folder), exclude: ['**/node_modules/**'] })
    .toSorted()
    .map((path) => ({ path: `${folder}/${path}`, text: readFileSync(join(root, folder, path), 'utf8') }));
}

function readManifest(path: string): Manifest {
  return JSON.parse(readFileSync(path, 'utf8')) as Manifest;
}
