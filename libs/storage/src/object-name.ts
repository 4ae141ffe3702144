import { invariant } from '@holdfast/errors/invariant';

/**
 * Names that a storage takes: up to three parts of lower-case letters and digits, such as `data/ab/ab12…`. No dot and no
 * dash, so that no name climbs out of its folder, and no name looks like a temporary file of ours (`.tmp-…`) or of
 * restic (`<id>-tmp-<number>`).
 */
const objectNamePattern = /^[0-9a-z]{1,64}(?:\/[0-9a-z]{1,64}){0,2}$/;
/** None of a repository's own: what is put there is in nobody's way. */
export const trialFolder = 'trial/';
const prefixPattern = /^(?:[0-9a-z]{1,64}\/){0,2}$/;

/** Whether an object can have this name. */
export function isObjectName(name: string): boolean {
  return objectNamePattern.test(name);
}

/** Whether an object has to go again soon, whatever else a storage is told to keep: locks of runs, and what a trial of a place leaves. */
export function isTransientName(name: string): boolean {
  return name.startsWith('locks/') || name.startsWith(trialFolder);
}

/** Throws `internal`: names come from our own code, never from a request. */
export function assertObjectName(name: string): void {
  invariant(isObjectName(name), `not a name of a storage object: ${JSON.stringify(name)}`);
}

/** As assertObjectName, for `list`: `''` or folders with their slash. */
export function assertListPrefix(prefix: string): void {
  invariant(prefixPattern.test(prefix), `not a prefix of storage objects: ${JSON.stringify(prefix)}`);
}
