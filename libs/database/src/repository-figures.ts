import { Prisma } from '../generated/client.ts';
import type { Transaction } from './open-database.ts';

/** What the rows of runs tell about a repository; nothing is asked of its storage. */
export interface RepositoryFigures {
  /** Backups whose snapshots, or copies of them, are there. */
  readonly snapshotCount: number;
  /** Pack bytes after the last cleanup, and what backups and copies have stored since; without a cleanup, what they have stored in all. */
  readonly sizeBytes: bigint;
  /** Pack bytes that backups and copies have stored since `growthSince`. */
  readonly growthBytes: bigint;
  readonly lastBackupAt: Date | null;
  /** The newest verification that came to an end by itself: when, and whether it found no damage. */
  readonly lastCheck: { readonly at: Date; readonly kind: string; readonly passed: boolean } | null;
}

interface Row {
  readonly id: string;
  readonly snapshotCount: number;
  readonly sizeBytes: bigint;
  readonly growthBytes: bigint;
  readonly lastBackupAt: Date | null;
  readonly checkedAt: Date | null;
  readonly checkKind: string | null;
  readonly checkPassed: boolean | null;
}

const isSuccess = Prisma.raw(`('completed', 'completed_with_warnings')`);
const stored = Prisma.raw(`COALESCE((job."metadata" #>> '{summary,dataAddedPacked}')::bigint, 0)`);

const written = Prisma.raw(`COALESCE((copy."details" ->> 'packBytes')::bigint, 0)`);

/** One for each id that is there. */
export async function repositoryFigures(
  rows: Transaction,
  ids: readonly string[],
  growthSince: Date,
): Promise<ReadonlyMap<string, RepositoryFigures>> {
  if (ids.length === 0) return new Map();
  const found = await rows.$queryRaw<Row[]>`
    SELECT repository."id", backups."snapshotCount" + copies."snapshotCount" AS "snapshotCount", backups."lastBackupAt",
      backups."growthBytes" + copied."growthBytes" AS "growthBytes",
      COALESCE(cleaned."bytes", 0) + backups."storedSince" + copied."storedSince" AS "sizeBytes",
      checked."at" AS "checkedAt", checked."kind" AS "checkKind", checked."passed" AS "checkPassed"
    FROM "repositories" repository
    LEFT JOIN LATERAL (
      SELECT "startTime", ("details" ->> 'bytesAfter')::bigint AS "bytes" FROM "cleanup_jobs"
      WHERE "repositoryId" = repository."id" AND "status" IN ${isSuccess} AND NOT "dryRun" AND "details" ? 'bytesAfter'
      ORDER BY "endTime" DESC LIMIT 1
    ) cleaned ON true
    CROSS JOIN LATERAL (
      SELECT count(job."snapshotId")::int AS "snapshotCount", max(job."endTime") AS "lastBackupAt",
        COALESCE(sum(${stored}) FILTER (WHERE cleaned."startTime" IS NULL OR job."endTime" > cleaned."startTime"), 0)::bigint AS "storedSince",
        COALESCE(sum(${stored}) FILTER (WHERE job."endTime" >= ${growthSince}), 0)::bigint AS "growthBytes"
      FROM "backup_jobs" job WHERE job."repositoryId" = repository."id" AND job."status" IN ${isSuccess}
    ) backups
    CROSS JOIN LATERAL (
      SELECT count(*)::int AS "snapshotCount" FROM "snapshot_copies" WHERE "repositoryId" = repository."id"
    ) copies
    CROSS JOIN LATERAL (
      SELECT
        COALESCE(sum(${written}) FILTER (WHERE cleaned."startTime" IS NULL OR copy."endTime" > cleaned."startTime"), 0)::bigint AS "storedSince",
        COALESCE(sum(${written}) FILTER (WHERE copy."endTime" >= ${growthSince}), 0)::bigint AS "growthBytes"
      FROM "copy_jobs" copy WHERE copy."targetRepositoryId" = repository."id" AND copy."details" IS NOT NULL
    ) copied
    LEFT JOIN LATERAL (
      SELECT verification."endTime" AS "at", verification."verificationType"::text AS "kind", verification."status" IN ${isSuccess} AS "passed"
      FROM "backup_verifications" verification JOIN "backup_jobs" job ON job."id" = verification."backupJobId"
      WHERE job."repositoryId" = repository."id"
        AND (verification."status" IN ${isSuccess} OR verification."errorCode" = 'verification_found_damage')
      ORDER BY verification."endTime" DESC LIMIT 1
    ) checked ON true
    WHERE repository."id" = ANY(${[...ids]})`;
  return new Map(found.map((row) => [row.id, figuresOf(row)]));
}

function figuresOf({ snapshotCount, sizeBytes, growthBytes, lastBackupAt, checkedAt, checkKind, checkPassed }: Row): RepositoryFigures {
  const lastCheck = checkedAt === null || checkKind === null ? null : { at: checkedAt, kind: checkKind, passed: checkPassed === true };
  return { snapshotCount, sizeBytes, growthBytes, lastBackupAt, lastCheck };
}
