import { lstat } from 'node:fs/promises';
import { basename } from 'node:path';
import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { applicationFolder } from '@holdfast/sources/application-data/application-source';
import type { Part } from '@holdfast/sources/application-data/part';
import { openFileSystemSource } from '@holdfast/sources/file-system-source';
import type { Source } from '@holdfast/sources/source';
import type { ApplicationDataSourceOptions, ApplicationPartOptionsOf } from '@holdfast/sources/source-options/application-data';
import { companions } from '@holdfast/sources/sqlite/sqlite-part';
import { resolveInsideRoots } from '@holdfast/sources/allowed-roots';
import { toSystemPath } from '@holdfast/sources/system-path';
import { openPart, type PartSurroundings } from './open-part.ts';

/** Files of the machine that belong to the application. */
export interface OpenedPaths {
  readonly name: string;
  readonly source: Source;
  readonly excludes: readonly string[];
}

export interface OpenedApplication extends AsyncDisposable {
  readonly files: readonly OpenedPaths[];
  readonly parts: readonly Part[];
  /** Real paths of databases that parts show, with what SQLite keeps beside them. */
  readonly hidden: ReadonlySet<string>;
  /** By the name of the part: where its database is. */
  readonly databasePaths: ReadonlyMap<string, string>;
}

/**
 * Opens all parts: logs in, looks at files. Nothing has its moment yet; what is wrong is found here, before anything is frozen. Codes:
 * request_invalid (paths that cannot be in one snapshot), those of openPart and of openFileSystemSource.
 */
export async function openApplication(options: ApplicationDataSourceOptions, surroundings: PartSurroundings): Promise<OpenedApplication> {
  await using opened = new AsyncDisposableStack();
  const { sourceRoots } = surroundings.context.config;
  const [files, parts]: [OpenedPaths[], Part[]] = [[], []];
  const databasePaths = new Map<string, string>();
  for (const part of options.parts) {
    if (part.kind === 'paths') {
      files.push(await openPaths(part, sourceRoots));
      continue;
    }
    const one = await openPart(part, surroundings);
    opened.defer(() => one.close());
    parts.push(one);
    if (part.kind === 'sqlite') databasePaths.set(part.name, await resolveInsideRoots(part.path, sourceRoots));
  }
  await assertApart(files);
  const hidden = new Set([...databasePaths.values()].flatMap((path) => [path, ...companions.map((ending) => `${path}${ending}`)]));
  const stack = opened.move();
  return { files, parts, hidden, databasePaths, [Symbol.asyncDispose]: () => stack.disposeAsync() };
}

async function openPaths(
  { name, paths, excludes = [] }: ApplicationPartOptionsOf<'paths'>,
  roots: readonly string[],
): Promise<OpenedPaths> {
  return { name, excludes, source: await openFileSystemSource({ paths, excludes, roots }) };
}

/** By their real paths; the API has looked at what was written. */
async function assertApart(files: readonly OpenedPaths[]): Promise<void> {
  const all = files.flatMap(({ name, source }) => source.paths.map((path) => ({ name, path })));
  for (const { name, path } of all) {
    if (path === '/' || isAtOrBelow(path, applicationFolder)) {
      throw unfit(name, path, `cannot be in such a backup, which has its parts at ${applicationFolder}: name the folders that are needed`);
    }
    const other = all.find((each) => each.name !== name && isAtOrBelow(path, each.path));
    if (other !== undefined) throw unfit(name, path, `is in part ${JSON.stringify(other.name)} too, as ${JSON.stringify(other.path)}`);
    const isAtTop = path === `/${basename(path)}`;
    if (isAtTop && !(await lstat(toSystemPath(path))).isDirectory())
      throw unfit(name, path, 'is no folder: at the top of the tree only folders can be taken');
  }
}

function unfit(name: string, path: string, why: string): HoldfastError {
  return new HoldfastError('request_invalid', `part ${JSON.stringify(name)}: path ${JSON.stringify(path)} ${why}`, { context: { path } });
}

function isAtOrBelow(path: string, root: string): boolean {
  return path === root || path.startsWith(`${root}/`);
}
