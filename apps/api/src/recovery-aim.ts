import { isInsideRoots } from '@holdfast/sources/allowed-roots';
import type { RecoveryOptions } from '@holdfast/sources/recovery-options';
import { checkTarget } from './allowed-places.ts';
import type { ApiConfig } from './config.ts';
import { fieldError } from './problem.ts';

/** The fields of a recovery that say which files go where. */
export type FileAim = Pick<
  RecoveryOptions,
  | 'paths'
  | 'globs'
  | 'excludes'
  | 'toOriginal'
  | 'stripPrefix'
  | 'stripComponents'
  | 'prefix'
  | 'overwrite'
  | 'deletesExtra'
  | 'owners'
  | 'dryRun'
>;

/** Of all of these, with what each has when it is left out. */
const ofFilesOnly = {
  toOriginal: false,
  stripPrefix: undefined,
  stripComponents: 0,
  prefix: undefined,
  deletesExtra: false,
  owners: 'keep',
  dryRun: false,
} as const;

/** The first field that only makes sense for files; undefined when there is none. A policy's name for `overwrite` is one. */
export function fileField(aim: FileAim): string | undefined {
  const given: Readonly<Record<string, unknown>> = aim;
  return (
    Object.entries(ofFilesOnly).find(([name, usual]) => given[name] !== usual)?.[0] ??
    (typeof aim.overwrite === 'string' ? 'overwrite' : undefined)
  );
}

/** A window of logs is all that is asked for, besides where it goes. Code: request_invalid. */
export function checkWindow(recoveryType: string, aim: FileAim): void {
  if (recoveryType !== 'selective') refuse('window', 'is for a selective recovery; leave it out, or ask for selective');
  const chosen = (['paths', 'globs', 'excludes'] as const).find((name) => aim[name] !== undefined) ?? fileField(aim);
  if (chosen !== undefined) refuse(chosen, 'is not for a window of logs, which takes whole logs; leave it out');
}

/** Which paths are taken: a part for selective only. Code: request_invalid. */
export function checkSelection(recoveryType: string, { paths, globs, excludes, stripPrefix }: FileAim): void {
  const given = Object.entries({ paths, globs, excludes }).find(([, value]) => value !== undefined)?.[0];
  if (recoveryType === 'selective' && given === undefined) {
    refuse('paths', 'is missing; name what a selective recovery is to recover, by paths, globs or excludes');
  }
  if (recoveryType !== 'selective' && given !== undefined) {
    refuse(given, 'is for a selective recovery; leave it out, or ask for selective');
  }
  if (stripPrefix === undefined) return;
  const apart = paths?.find((path) => !isInsideRoots(path, [stripPrefix]) && !isInsideRoots(stripPrefix, [path]));
  if (apart !== undefined)
    refuse('paths', `${apart} does not lie below stripPrefix ${stripPrefix}, so that nothing of it would be recovered`);
}

/**
 * Where files go and what may happen there, as far as the request alone tells; gives the place for the row. Codes: request_invalid,
 * path_outside_roots.
 */
export function filePlace(aim: FileAim, targetLocation: string | undefined, config: Pick<ApiConfig, 'targetRoots'>): string {
  if (aim.stripPrefix !== undefined && aim.stripComponents > 0) {
    refuse('stripComponents', 'is given beside stripPrefix; leave one of them out');
  }
  if (aim.deletesExtra && aim.overwrite === false) {
    refuse(
      'deletesExtra',
      'is for folders that hold something; say in overwrite what becomes of that: always, if-changed, if-newer or never',
    );
  }
  if (aim.toOriginal) return originalPlace(aim, targetLocation, config);
  if (targetLocation === undefined) {
    refuse('targetLocation', 'is missing; name a folder, or send toOriginal or targetDatabase');
  }
  checkTarget(targetLocation, config);
  if (aim.deletesExtra) checkClearable('targetLocation', targetLocation, config);
  return targetLocation;
}

function originalPlace(aim: FileAim, targetLocation: string | undefined, config: Pick<ApiConfig, 'targetRoots'>): string {
  if (targetLocation !== undefined) refuse('targetLocation', 'is given beside toOriginal; leave one of them out');
  const moved = (['stripPrefix', 'stripComponents', 'prefix'] as const).find((name) => aim[name] !== ofFilesOnly[name]);
  if (moved !== undefined) refuse(moved, 'moves paths, and toOriginal leaves them where they are; leave one of them out');
  if (aim.overwrite === false) {
    refuse('overwrite', 'must say for toOriginal what becomes of files that are there: always, if-changed, if-newer or never');
  }
  for (const [nth, path] of (aim.paths ?? []).entries()) {
    checkTarget(path, config, `paths.${nth}`);
    if (aim.deletesExtra) checkClearable(`paths.${nth}`, path, config);
  }
  return '/';
}

function checkClearable(field: string, place: string, { targetRoots }: Pick<ApiConfig, 'targetRoots'>): void {
  const root = targetRoots.find((one) => isInsideRoots(one, [place]));
  if (root !== undefined)
    refuse(field, `holds the target root ${root}, which no recovery clears: name a folder below it, or leave deletesExtra out`);
}

function refuse(field: string, message: string): never {
  throw fieldError('request_invalid', [{ field, message }]);
}
