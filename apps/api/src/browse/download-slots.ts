import { HoldfastError } from '@holdfast/errors/holdfast-error';

/** Downloads at a time: each holds a connection to a worker, which reads packs for it, and a lock that makes a cleanup wait. */
export interface DownloadSlots {
  /** Takes a place for one download of a caller; gives what makes it free again. Code: rate_limited. */
  take(subject: string): () => void;
}

/** A person looks at one file, a script fetches a few; more at a time only share the same line. */
export const downloadsOfCallerMaxCount = 4;
/** Of one API process: more than all of a few workers' own. */
export const downloadsMaxCount = 64;

export function createDownloadSlots(): DownloadSlots {
  const countOf = new Map<string, number>();
  let allCount = 0;
  return {
    take(subject) {
      const count = countOf.get(subject) ?? 0;
      if (count >= downloadsOfCallerMaxCount) throw tooMany(`${downloadsOfCallerMaxCount} downloads of this caller`);
      if (allCount >= downloadsMaxCount) throw tooMany(`${downloadsMaxCount} downloads`);
      countOf.set(subject, count + 1);
      allCount++;
      let isTaken = true;
      return () => {
        if (!isTaken) return;
        isTaken = false;
        allCount--;
        const left = (countOf.get(subject) ?? 1) - 1;
        if (left === 0) countOf.delete(subject);
        else countOf.set(subject, left);
      };
    },
  };
}

function tooMany(what: string): HoldfastError {
  return new HoldfastError('rate_limited', `${what} are under way already`, { hint: 'wait until one has ended, or end one' });
}
