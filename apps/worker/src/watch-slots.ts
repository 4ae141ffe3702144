import { inTransaction } from '@holdfast/database/in-transaction';
import { recordSlotLook, slotsToWatch, type SlotSeen, type WatchedSlot } from '@holdfast/database/watched-slots';
import { forEachConcurrently } from '@holdfast/engine/slots';
import { asHoldfastError, HoldfastError, isHoldfastError } from '@holdfast/errors/holdfast-error';
import { slotLevel } from '@holdfast/policy/slot-level';
import { readSlotStatuses, type SlotStatus } from '@holdfast/sources/postgresql/wal/replication-slot';
import { assertSameCluster, readServerInstance } from '@holdfast/sources/postgresql/wal/system-identity';
import { releaseSlot, type SlotPresence } from './postgresql/release-slot.ts';
import { connectToSlots, serverKey, serverOf } from './postgresql/slot-server.ts';
import { isNeeded, wantedSlot } from './postgresql/wanted-slot.ts';
import { rowError } from './record-run.ts';
import type { WorkerContext } from './worker-context.ts';

/** Servers that do not answer hold up no more than the others in their lane. */
const serversAtOnce = 4;
/** Beyond it a server is left until the next round. */
const serverLimitMs = 20_000;
/** Slots looked at in one round, those that were looked at longest ago first. */
const maxSlotsPerRound = 1_000;

/**
 * Looks after the replication slots that configs keep, or kept, at PostgreSQL servers: notes how much WAL each makes its server keep, and
 * drops those that no config needs any more. One that cannot be looked at, or not be dropped, says why on its row and has its turn again.
 * Code: database_unreachable.
 */
export async function watchSlots(context: WorkerContext, stopping: AbortSignal): Promise<void> {
  const { database, clock, timing } = context;
  const before = new Date(clock.now().getTime() - timing.slotsMs / 2);
  const slots = await slotsToWatch(database.client, before, maxSlotsPerRound);
  const servers = Map.groupBy(slots, serverKey);
  await forEachConcurrently(servers.values(), serversAtOnce, (ofServer) => watchServer(context, ofServer, stopping));
}

/** One server in one round. */
interface Round {
  readonly context: WorkerContext;
  readonly stopping: AbortSignal;
  /** Aborts at the server's limit too. */
  readonly signal: AbortSignal;
}

/** All slots that one connection leads to. */
async function watchServer(context: WorkerContext, slots: readonly WatchedSlot[], stopping: AbortSignal): Promise<void> {
  const [first] = slots;
  if (first === undefined) return;
  const left = new Set(slots);
  const signal = AbortSignal.any([stopping, AbortSignal.timeout(serverLimitMs)]);
  const round = { context, stopping, signal };
  try {
    await using sql = await connectToSlots(context, serverOf(first), signal);
    const instance = await readServerInstance(sql);
    const names = slots.map(({ name }) => name);
    const statuses = await readSlotStatuses(sql, names);
    for (const slot of slots) {
      await lookAfter(round, slot, { sql, instance, status: statuses.get(slot.name) ?? null });
      left.delete(slot);
    }
  } catch (error) {
    const failure = failureOf(error, first, stopping);
    for (const slot of left) await record(context, slot, { isNeeded: isKept(slot), seen: null, failure });
  }
}

async function lookAfter({ context, stopping, signal }: Round, slot: WatchedSlot, presence: SlotPresence): Promise<void> {
  let seen: SlotSeen | null = null;
  try {
    assertSameCluster(presence.instance, slot.systemIdentifier);
    seen = seenOf(slot, presence.status, context.config.slotWarningBytes);
    const wanted = wantedSlot(slot);
    if (!isNeeded(slot, wanted)) return await releaseSlot(context, slot, presence, wanted, signal);
    await record(context, slot, { isNeeded: true, seen, failure: null });
  } catch (error) {
    await record(context, slot, { isNeeded: isKept(slot), seen, failure: failureOf(error, slot, stopping) });
  }
}

function seenOf({ madeAt }: WatchedSlot, status: SlotStatus | null, warningBytes: number): SlotSeen {
  if (status === null) return { level: madeAt === null ? null : 'lost', walStatus: null, retainedBytes: null, safeBytes: null };
  const { walStatus, retainedBytes, safeBytes } = status;
  return { level: slotLevel(status, warningBytes), walStatus, retainedBytes, safeBytes };
}

/** A slot of which nobody can say whether it is needed stays. */
function isKept(slot: WatchedSlot): boolean {
  try {
    return isNeeded(slot, wantedSlot(slot));
  } catch (error) {
    if (isHoldfastError(error, 'request_invalid')) return true;
    throw error;
  }
}

/** Throws what ends the round: the worker stops, or its own database is away. */
function failureOf(error: unknown, { server }: WatchedSlot, stopping: AbortSignal): HoldfastError {
  stopping.throwIfAborted();
  if (isHoldfastError(error, 'database_unreachable')) throw error;
  const isLate = error instanceof DOMException && error.name === 'TimeoutError';
  if (isLate) return new HoldfastError('postgresql_unreachable', `${server} did not answer within ${serverLimitMs / 1000} s`);
  return asHoldfastError(error);
}

async function record(
  { database, clock, logger }: WorkerContext,
  { id, name, server, backupConfigId }: WatchedSlot,
  look: { readonly isNeeded: boolean; readonly seen: SlotSeen | null; readonly failure: HoldfastError | null },
): Promise<void> {
  const { failure } = look;
  const told = failure === null ? null : { ...rowError(failure), isLasting: failure.retry === 'never' };
  const { isNews } = await inTransaction(database, (tx) => recordSlotLook(tx, id, { ...look, now: clock.now(), failure: told }));
  if (failure === null) return;
  const err = failure.code === 'internal' ? failure : undefined;
  // An outage is told once, not every minute.
  logger[isNews ? 'warn' : 'debug']({ slot: name, server, backupConfigId, code: failure.code, err }, failure.message);
}
