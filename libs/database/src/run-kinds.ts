import { Prisma } from '../generated/client.ts';
import type { JsonObject } from './json-object.ts';

/** The kinds of run. The name is also that of the queue, of its jobs and the first word of its events. */
export const runKinds = ['backup', 'verify', 'recovery', 'cleanup', 'copy', 'adopt'] as const;

export type RunKind = (typeof runKinds)[number];

/** Where a kind's rows lie. The run columns are the same in all of these tables, so runs.ts reads and writes them by one text. */
export const runTables = {
  backup: Prisma.raw('"backup_jobs"'),
  verify: Prisma.raw('"backup_verifications"'),
  recovery: Prisma.raw('"recovery_jobs"'),
  cleanup: Prisma.raw('"cleanup_jobs"'),
  copy: Prisma.raw('"copy_jobs"'),
  adopt: Prisma.raw('"adoption_jobs"'),
} as const satisfies Record<RunKind, Prisma.Sql>;

/** What a kind's run leaves in its row besides the run columns. Sizes and counts as bigint; JSON holds no bigint and no secret. */
export interface RunResults {
  backup: {
    readonly snapshotId: string;
    readonly filePath: string;
    readonly fileSize: bigint;
    readonly checksum: string;
    readonly metadata: JsonObject;
  };
  verify: { readonly details: JsonObject };
  recovery: { readonly recoveredRecords: bigint; readonly metadata: JsonObject };
  cleanup: { readonly details: JsonObject };
  copy: { readonly details: JsonObject };
  adopt: { readonly details: JsonObject };
}
