import { factsOf, type BackupFacts } from './recovery-facts.ts';

/** A place in WAL: what is before it is kept. */
export interface WalPlace {
  readonly timeline: number;
  readonly lsn: bigint;
}

/**
 * Where a run goes on that takes WAL: behind what former runs of the chain have stored, without any gap. `afterLoss` is where it may go on
 * when the server has that WAL no more: the end of a base backup that is newer, so that only what lies between cannot be recovered to.
 */
export interface WalStart {
  readonly systemIdentifier: string;
  readonly place: WalPlace;
  readonly afterLoss: WalPlace | null;
}

/** Null without any base backup. The cluster is that of the newest one, as for chainsOf; what is of another counts for nothing. */
export function walStart(backups: readonly BackupFacts[]): WalStart | null {
  const bases = backups.flatMap(({ facts }) => (facts.kind === 'base' ? [facts] : []));
  const [newest] = bases.toSorted((a, b) => (a.endTime < b.endTime ? 1 : a.endTime > b.endTime ? -1 : 0));
  if (newest === undefined) return null;
  const { systemIdentifier } = newest;
  const base = { timeline: newest.timeline, lsn: newest.endLsn };
  const ends = backups.flatMap(({ facts }) =>
    facts.kind === 'wal' && facts.systemIdentifier === systemIdentifier
      ? facts.pieces.map(({ timeline, toLsn }) => ({ timeline, lsn: toLsn }))
      : [],
  );
  const own = ends.reduce<WalPlace | null>((last, end) => (last === null || isBehind(end, last) ? end : last), null);
  if (own === null) return { systemIdentifier, place: base, afterLoss: null };
  return { systemIdentifier, place: own, afterLoss: isBehind(base, own) ? base : null };
}

/** The facts among what rows say of backups; rows of other kinds are left out. Throws a ZodError for facts that are none. */
export function factsOfRows(rows: readonly { readonly jobId: string; readonly metadata: unknown }[]): BackupFacts[] {
  return rows.flatMap(({ jobId, metadata }) => {
    const facts = factsOf(metadata);
    return facts === null ? [] : [{ jobId, facts }];
  });
}

/** A newer timeline counts first: one that was promoted may begin before the end of what the old one still wrote. */
function isBehind(a: WalPlace, b: WalPlace): boolean {
  return a.timeline > b.timeline || (a.timeline === b.timeline && a.lsn > b.lsn);
}
