import { dueFreezes, findFreeze, type ApplicationFreezeRow } from '@holdfast/database/application-freezes';
import type { Claim } from '@holdfast/database/runs';
import type { WorkerContext } from '../worker-context.ts';
import { notedThawSchema, thawNoted } from './thaw-noted.ts';

/** More than there are applications. */
const maxPerRound = 100;

/**
 * Thaws what runs have frozen that nobody works on any more: of a worker that died, at its next start; and what could not be thawed before. A
 * program of another machine's hooks folder is left to workers of that machine. Code: database_unreachable.
 */
export async function thawOverdue(context: WorkerContext, stopping: AbortSignal): Promise<void> {
  const { database, clock, timing, hostname, logger } = context;
  const due = await dueFreezes(database.client, { now: clock.now(), silentMs: timing.silentForMs, limit: maxPerRound });
  for (const freeze of due) {
    if (stopping.aborted) return;
    const noted = await findFreeze(database.client, freeze.id);
    if (noted === null || (freeze.hostname !== hostname && isProgram(noted))) continue;
    const { kind } = await thawNoted(context, freeze);
    if (kind === 'thawed') logger.warn({ jobId: freeze.id }, 'an application was thawed that a run had left frozen');
  }
}

/**
 * Thaws what a former attempt of this run has left frozen, before anything else is done. An application that cannot be thawed is not frozen again.
 * Codes: those of the hook, database_unreachable.
 */
export async function thawFormer(context: WorkerContext, { id, fencingNumber }: Pick<Claim, 'id' | 'fencingNumber'>): Promise<void> {
  const noted = await findFreeze(context.database.client, id);
  if (noted === null || noted.fencingNumber === fencingNumber) return;
  const outcome = await thawNoted(context, noted);
  if (outcome.kind === 'failed') throw outcome.error;
}

function isProgram({ thaw }: ApplicationFreezeRow): boolean {
  return notedThawSchema.parse(thaw).hook.kind === 'program';
}
