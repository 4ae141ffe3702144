import type { Transaction } from './open-database.ts';

/** What workers last saw of all storages together. */
export interface StorageProbes {
  readonly repositoryCount: number;
  /** Repositories that a worker has looked at. */
  readonly probedCount: number;
  /** Of these, the ones whose last look failed. */
  readonly failingCount: number;
  /** Milliseconds, of the looks that succeeded; null when there are none. */
  readonly averageLatencyMs: number | null;
  readonly oldestProbeAt: Date | null;
  /** The code of one of the failures; null when there is none. */
  readonly errorCode: string | null;
}

/** One question about all repositories, for the health of the service. */
export async function storageProbes(rows: Transaction): Promise<StorageProbes> {
  const [summary] = await rows.$queryRaw<StorageProbes[]>`
    SELECT count(*)::int AS "repositoryCount",
      count("probedAt")::int AS "probedCount",
      (count(*) FILTER (WHERE "probedAt" IS NOT NULL AND "probeErrorCode" IS NOT NULL))::int AS "failingCount",
      (avg("probeLatencyMs") FILTER (WHERE "probeErrorCode" IS NULL))::float8 AS "averageLatencyMs",
      min("probedAt") AS "oldestProbeAt",
      min("probeErrorCode") AS "errorCode"
    FROM "repositories"`;
  return summary ?? { repositoryCount: 0, probedCount: 0, failingCount: 0, averageLatencyMs: null, oldestProbeAt: null, errorCode: null };
}
