import type { Prisma } from '../generated/client.ts';
import { advisoryLocks } from './advisory-lock.ts';
import { isJsonObject, type JsonObject } from './json-object.ts';
import type { Transaction } from './open-database.ts';
import { idsInScope, type Scope } from './scope.ts';

/** Woken whenever events were committed; the payload is empty, since the log itself says what. */
export const eventsChannel = 'holdfast_events';

/** The most events in one read: a reader that is behind takes several. */
const maxEventsPerRead = 1_000;

export type SubjectKind =
  | 'backup'
  | 'verify'
  | 'recovery'
  | 'cleanup'
  | 'copy'
  | 'adopt'
  | 'config'
  | 'configuration'
  | 'copy_config'
  | 'entity'
  | 'plan'
  | 'repository'
  | 'service';

export interface NewEvent {
  /** Null for what concerns the whole service. */
  readonly businessEntityId: string | null;
  /** `<subject>.<what happened>`, such as `backup.completed`. */
  readonly type: `${SubjectKind}.${string}`;
  readonly subjectKind: SubjectKind;
  readonly subjectId: string;
  /** No bigint and no secret: it is sent to clients as it is. */
  readonly data: JsonObject;
}

export interface LoggedEvent extends Omit<NewEvent, 'type' | 'subjectKind'> {
  readonly sequence: bigint;
  readonly type: string;
  readonly subjectKind: string;
  readonly createdAt: Date;
}

/**
 * Appends to the event log and wakes its readers on commit; gives the event's number.
 *
 * The numbering lock is held until the transaction ends, so that numbers are committed in their order: a reader that has seen
 * n will never be shown a smaller one later. Append last in a transaction, with nothing slow behind it.
 */
export async function appendEvent(tx: Transaction, event: NewEvent): Promise<bigint> {
  await tx.$executeRaw`SELECT pg_advisory_xact_lock(${advisoryLocks.numberEvents}::bigint)`;
  const rows = await tx.$queryRaw<{ sequence: bigint }[]>`
    INSERT INTO "events" ("businessEntityId", "type", "subjectKind", "subjectId", "data", "createdAt")
    VALUES (${event.businessEntityId}, ${event.type}, ${event.subjectKind}, ${event.subjectId}, ${JSON.stringify(event.data)}::jsonb,
            clock_timestamp())
    RETURNING "sequence", pg_notify(${eventsChannel}, '')::text`;
  return rows[0]?.sequence ?? 0n;
}

/**
 * The events after `after`, in order, that a reader may see; `[]` when there are none. Events without an entity are for
 * readers of all entities only. At most `limit` (≤ 1000, 100 when not given); fewer than asked for means the end is reached.
 */
export async function readEvents(
  rows: Transaction,
  query: {
    readonly after: bigint;
    readonly entityIds: Scope;
    readonly subjectId?: string | undefined;
    readonly limit?: number | undefined;
  },
): Promise<LoggedEvent[]> {
  const where: Prisma.EventWhereInput = {
    sequence: { gt: query.after },
    ...eventsIn(query.entityIds),
    ...(query.subjectId === undefined ? {} : { subjectId: query.subjectId }),
  };
  const take = Math.min(query.limit ?? 100, maxEventsPerRead);
  const found = await rows.event.findMany({ where, orderBy: { sequence: 'asc' }, take });
  return found.map((event) => ({ ...event, data: isJsonObject(event.data) ? event.data : {} }));
}

/** The number of the newest committed event, 0n in an empty log: where a reader begins that wants only what is still to come. */
export async function latestSequence(rows: Transaction): Promise<bigint> {
  const newest = await rows.event.findFirst({ orderBy: { sequence: 'desc' }, select: { sequence: true } });
  return newest?.sequence ?? 0n;
}

/** What concerns the whole service is for readers of all tenants too. */
function eventsIn(scope: Scope): Prisma.EventWhereInput {
  const businessEntityId = idsInScope(scope);
  if (businessEntityId === undefined) return {};
  return scope === 'tenants' ? { OR: [{ businessEntityId: null }, { businessEntityId }] } : { businessEntityId };
}
