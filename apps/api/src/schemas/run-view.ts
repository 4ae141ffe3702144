import { z } from 'zod';

export const runStatuses = ['pending', 'queued', 'running', 'completed', 'completed_with_warnings', 'failed', 'cancelled'] as const;

const time = z.string().describe('ISO 8601, UTC');
const nullableTime = z.string().nullable();

/** The fields that all kinds of run have in common. */
export const runViewShape = {
  id: z.string(),
  businessEntityId: z.string(),
  status: z.enum(runStatuses).describe('pending waits for execute; queued is owed; running is in a worker; the others are final'),
  attempt: z.number().int().describe('How often a worker has taken it'),
  cancelRequestedAt: nullableTime,
  queuedAt: nullableTime,
  startTime: nullableTime.describe('Start of the first attempt'),
  endTime: nullableTime,
  duration: z.number().nullable().describe('Milliseconds'),
  errorCode: z.string().nullable(),
  errorMessage: z.string().nullable(),
  workerLabel: z.string().nullable().describe('The label that a worker has to carry to do it; null for any'),
  waitingFor: z
    .object({ workerLabel: z.string().nullable(), since: time, message: z.string() })
    .nullable()
    .describe('Of a queued run that no worker which is alive may do'),
  createdAt: time,
  updatedAt: time,
};

export interface RunColumns {
  readonly id: string;
  readonly businessEntityId: string;
  readonly status: (typeof runStatuses)[number];
  readonly attempt: number;
  readonly cancelRequestedAt: Date | null;
  readonly queuedAt: Date | null;
  readonly startTime: Date | null;
  readonly endTime: Date | null;
  readonly duration: bigint | null;
  readonly errorCode: string | null;
  readonly errorMessage: string | null;
  readonly workerLabel: string | null;
  readonly createdAt: Date;
  readonly updatedAt: Date;
}

export function runView(row: RunColumns) {
  return {
    id: row.id,
    businessEntityId: row.businessEntityId,
    status: row.status,
    attempt: row.attempt,
    cancelRequestedAt: iso(row.cancelRequestedAt),
    queuedAt: iso(row.queuedAt),
    startTime: iso(row.startTime),
    endTime: iso(row.endTime),
    duration: count(row.duration),
    errorCode: row.errorCode,
    errorMessage: row.errorMessage,
    workerLabel: row.workerLabel,
    createdAt: row.createdAt.toISOString(),
    updatedAt: row.updatedAt.toISOString(),
  };
}

export function iso(date: Date | null): string | null {
  return date === null ? null : date.toISOString();
}

/** Sizes, counts and milliseconds leave as JSON numbers, exact up to 2^53 (8 PiB). */
export function count(value: bigint | null): number | null {
  return value === null ? null : Number(value);
}
