import { invariant } from '@holdfast/errors/invariant';
import { formatBytes, formatCount } from '../format-amount.ts';
import { detailedRunSchema, pageOf, runSchema } from './api-answers.ts';
import { requireCompleted } from './back-up.ts';
import type { FirstBackup, StepOutcome, TourContext } from './tour-context.ts';

export const verifications = [
  { type: 'checksum', meaning: 'every pack of the repository hashed again' },
  { type: 'integrity', meaning: 'every folder walked, every piece of data present' },
  { type: 'restore_test', meaning: 'restored to a scratch folder and compared by hash' },
] as const;

export async function verifyBackup(
  context: TourContext,
  backup: FirstBackup,
  verification: (typeof verifications)[number],
): Promise<StepOutcome> {
  const path = `/jobs/${backup.run.id}/verif`;
  const accepted = await context.client.post(`${path}y`, { verificationType: verification.type }, runSchema);
  const run = await context.follower.follow(
    accepted.id,
    async () => {
      const page = await context.client.get(`${path}ications`, pageOf(detailedRunSchema));
      const row = page.items.find((item) => item.id === accepted.id);
      invariant(row !== undefined, `verification ${accepted.id} is not in the list of its backup`);
      return row;
    },
    context.showProgress,
  );
  requireCompleted(run);
  return { amount: countsOf(run.details), detail: verification.meaning };
}

const shownCounts = 3;
/** The endings of the names of counts, and what is counted in front of them: `packsChecked`. */
const countName = /^(?<what>[a-z]+)(?:Checked|Compared)$/;

/** `1.6 MiB, 2 packs, 294 trees`: the bytes and counts among the details, by their own names. */
function countsOf(details: Readonly<Record<string, unknown>> | null): string {
  return Object.entries(details ?? {})
    .toSorted(([left], [right]) => Number(right.startsWith('bytes')) - Number(left.startsWith('bytes')))
    .flatMap(([name, value]) => {
      if (typeof value !== 'number' || value === 0) return [];
      if (name === 'bytesRead' || name === 'bytesCompared') return [formatBytes(value)];
      const what = countName.exec(name)?.groups?.['what'];
      return what === undefined ? [] : [`${formatCount(value)} ${what}`];
    })
    .slice(0, shownCounts)
    .join(', ');
}
