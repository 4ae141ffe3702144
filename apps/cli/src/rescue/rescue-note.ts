import { readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { errnoCode } from '@holdfast/errors/errno-code';
import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { z } from 'zod';

/**
 * `<state folder>/rescue.json`: which snapshot a rescue builds the folder from, and whether it is done. It lets one that was killed go on, and
 * keeps `up` from starting half a service.
 */
const noteSchema = z.object({
  id: z.string(),
  repositoryId: z.string(),
  snapshotId: z.string(),
  startedAt: z.string(),
  finishedAt: z.string().optional(),
});
export type RescueNote = z.infer<typeof noteSchema>;

const notePath = (stateFolder: string): string => join(stateFolder, 'rescue.json');
/** What is there before the note is: the lock, and what a kill left of writing either. */
const ownNames = /^(?:up\.lock|rescue\.json\.)/u;

/** Undefined when no rescue was ever begun here. Code: configuration_invalid, when the note cannot be read. */
export function readRescueNote(stateFolder: string): RescueNote | undefined {
  let text: string;
  try {
    text = readFileSync(notePath(stateFolder), 'utf8');
  } catch (error) {
    if (errnoCode(error) === 'ENOENT' || errnoCode(error) === 'ENOTDIR') return undefined;
    throw error;
  }
  try {
    return noteSchema.parse(JSON.parse(text));
  } catch (error) {
    throw new HoldfastError('configuration_invalid', `${notePath(stateFolder)} cannot be read`, {
      hint: 'name an empty folder for the rescue',
      cause: error,
    });
  }
}

/**
 * The note of a rescue that was begun here and goes on; undefined for a folder with nothing in it. Codes: target_not_empty, for any other
 * folder; conflict, when what was begun is of another repository.
 */
export function unfinishedRescue(stateFolder: string, repositoryId: string): RescueNote | undefined {
  const note = readRescueNote(stateFolder);
  if (note === undefined) {
    const [name] = namesIn(stateFolder).filter((each) => !ownNames.test(each));
    if (name === undefined) return undefined;
    throw new HoldfastError('target_not_empty', `${stateFolder} holds something already (${name}, ...)`, {
      hint: 'a rescue builds a service in an empty folder: name another one with --state-dir',
    });
  }
  if (note.finishedAt !== undefined) {
    throw new HoldfastError('target_not_empty', `${stateFolder} was rescued at ${note.finishedAt}`, {
      hint: 'start it with `holdfast up`; to rescue anew name another folder',
    });
  }
  if (note.repositoryId === repositoryId) return note;
  throw new HoldfastError('conflict', `a rescue from repository ${note.repositoryId} was begun in ${stateFolder}`, {
    hint: 'name that repository again, or another folder',
  });
}

export function beginRescue(stateFolder: string, of: Pick<RescueNote, 'repositoryId' | 'snapshotId'>, now: Date): RescueNote {
  const note = { id: randomUUID(), ...of, startedAt: now.toISOString() };
  writeNote(stateFolder, note);
  return note;
}

export function finishRescue(stateFolder: string, note: RescueNote, now: Date): void {
  writeNote(stateFolder, { ...note, finishedAt: now.toISOString() });
}

/** Code: conflict, in a folder in which a rescue was begun and not finished. */
export function refuseUnfinishedRescue(stateFolder: string): void {
  const note = readRescueNote(stateFolder);
  if (note === undefined || note.finishedAt !== undefined) return;
  throw new HoldfastError('conflict', `a rescue was begun in ${stateFolder} at ${note.startedAt} and did not end`, {
    hint: 'run the same `holdfast rescue` again, which goes on; then start the service',
  });
}

/** Whole or not at all. */
function writeNote(stateFolder: string, note: RescueNote): void {
  const temporary = join(stateFolder, `rescue.json.${randomUUID()}`);
  writeFileSync(temporary, `${JSON.stringify(note, null, 2)}\n`, { mode: 0o600, flush: true });
  renameSync(temporary, notePath(stateFolder));
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch (error) {
    if (errnoCode(error) === 'ENOENT') return [];
    throw error;
  }
}
