import { HoldfastError } from '@holdfast/errors/holdfast-error';
import type { ObjectId } from '@holdfast/restic-format/object-id';

/**
 * Which packs a check reads when it does not read all:
 * - a part: those whose number, the first byte of the id, falls into the part-th of `of` classes; all parts one after the other read all
 * - a share of the packs, in percent, or as many as make up a size: chosen at random, another choice each time
 * - those that are named, as far as they are there: what was just written, say
 */
export type CheckSubset =
  | { readonly part: number; readonly of: number }
  | { readonly percent: number }
  | { readonly sizeBytes: number }
  | { readonly packIds: ReadonlySet<ObjectId> };

/** An id's first byte has so many values. */
const maxParts = 256;

/** Throws request_invalid for a subset that cannot be. */
export function assertSubset(subset: CheckSubset): void {
  if ('packIds' in subset) return;
  const isPossible =
    'part' in subset
      ? Number.isInteger(subset.part) &&
        Number.isInteger(subset.of) &&
        subset.part >= 1 &&
        subset.part <= subset.of &&
        subset.of <= maxParts
      : 'percent' in subset
        ? subset.percent > 0 && subset.percent <= 100
        : subset.sizeBytes > 0;
  if (isPossible) return;
  throw new HoldfastError('request_invalid', `no packs can be chosen by ${JSON.stringify(subset)}`, {
    hint: `give a part of at most ${maxParts}, a percentage up to 100, or a size`,
  });
}

/** The packs to read, at least one where there is any (but for a part, or names, that none has). `random` gives numbers from 0 up to 1. */
export function choosePacks(
  packIds: readonly ObjectId[],
  sizes: ReadonlyMap<ObjectId, number>,
  subset: CheckSubset,
  random: () => number,
): ObjectId[] {
  if ('packIds' in subset) return packIds.filter((id) => subset.packIds.has(id));
  if ('part' in subset) return packIds.filter((id) => Number.parseInt(id.slice(0, 2), 16) % subset.of === subset.part - 1);
  const shuffled = shuffle(packIds, random);
  if ('percent' in subset) return shuffled.slice(0, Math.max(1, Math.round((packIds.length * subset.percent) / 100)));
  const chosen: ObjectId[] = [];
  let sizeBytes = 0;
  for (const id of shuffled) {
    if (sizeBytes >= subset.sizeBytes) break;
    chosen.push(id);
    sizeBytes += sizes.get(id) ?? 0;
  }
  return chosen;
}

/** Fisher and Yates. */
function shuffle(packIds: readonly ObjectId[], random: () => number): ObjectId[] {
  const shuffled = [...packIds];
  for (let last = shuffled.length - 1; last > 0; last--) {
    const other = Math.floor(random() * (last + 1));
    [shuffled[last], shuffled[other]] = [shuffled[other] ?? '', shuffled[last] ?? ''];
  }
  return shuffled;
}
