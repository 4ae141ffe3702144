import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { invariant } from '@holdfast/errors/invariant';
import { formatLsn, parseLsn, type Lsn } from '../lsn.ts';
import { walSegmentName, walSegmentStart } from '../wal-segment.ts';
import type { WireConnection } from '../wire/wire-connection.ts';
import { quoted } from './replication-slot.ts';
import { assertSameCluster, identifySystem, type SystemIdentity } from './system-identity.ts';
import { fetchTimelineHistory } from './timeline-history.ts';
import { decodeWalDataStart, encodeStatus, keepaliveType, walDataHeadBytes, walDataType, wantsReply } from './wal-message.ts';

/**
 * The write-ahead log as files of pg_wal, from a place on until the end that the server had when it was asked. A timeline that ends
 * leaves the beginning of its last segment; the next one starts with the same segment under its own name, after its history file.
 */
export type WalEntry =
  | {
      readonly kind: 'segment';
      readonly name: string;
      readonly timeline: number;
      readonly startLsn: Lsn;
      /** The place after its last byte. */
      readonly endLsn: Lsn;
      /** Valid until the next entry is taken. */
      readonly bytes: Buffer;
      /** False for the beginning of a segment, at the end of a timeline or of what the server had. */
      readonly isComplete: boolean;
    }
  | { readonly kind: 'history'; readonly name: string; readonly timeline: number; readonly bytes: Buffer }
  | { readonly kind: 'end'; readonly timeline: number; readonly lsn: Lsn };

export interface WalReceiverOptions {
  /** Which makes the server keep what is not confirmed; null for a server that keeps it otherwise. */
  readonly slot: string | null;
  /** Where the last run came to; the segment that holds it is received from its start. */
  readonly timeline: number;
  readonly startLsn: Lsn;
  /** Where to stop, at or before the server's end. Its end at the beginning when not given. */
  readonly stopLsn?: Lsn | undefined;
  /** The cluster that the chain is of. */
  readonly systemIdentifier?: string | undefined;
  readonly nowMs: () => number;
}

/** Well below wal_sender_timeout, which is 60 s and may be set to less; told by time, whatever the taker does. */
const statusIntervalMs = 2_000;

/** What START_REPLICATION ended with: where the next timeline begins. */
interface NextTimeline {
  readonly timeline: number;
  readonly startLsn: Lsn;
}

/**
 * Reads WAL over `wire`, a replication connection of its own. The server may forget a segment only after `confirm` said that it is
 * durable elsewhere. Until then its beginning is reported as flushed, up to its last byte: a server that is shut down waits for whoever
 * has not flushed what it sent. So our application_name must be in no synchronous_standby_names (`*` included).
 *
 * Codes: postgresql_wal_lost (removed, slot gone or invalidated, another cluster or timeline: a new chain begins with a new base backup),
 * postgresql_busy (somebody streams from the slot), postgresql_interrupted, postgresql_stream_damaged; the signal's reason.
 */
export class WalReceiver {
  readonly #wire: WireConnection;
  readonly #options: WalReceiverOptions;
  #segmentSizeBytes = 0;
  #receivedLsn = 0n;
  #confirmedLsn = 0n;
  #isStreaming = false;

  constructor(wire: WireConnection, options: WalReceiverOptions) {
    this.#wire = wire;
    this.#options = options;
  }

  /** Everything before `lsn` is durable; told to the server at once. */
  confirm(lsn: Lsn): void {
    if (lsn > this.#confirmedLsn) this.#confirmedLsn = lsn;
    this.#sendStatus();
  }

  /** Once. Closes the connection when the taker stops early or something fails. */
  async *entries(): AsyncGenerator<WalEntry, void, undefined> {
    let isComplete = false;
    // The timer runs while the taker works, for as long as the log flows.
    const timer = setInterval(() => this.#sendStatus(), statusIntervalMs);
    try {
      yield* this.#timelines();
      isComplete = true;
    } finally {
      clearInterval(timer);
      if (!isComplete) await this.#wire.close();
    }
  }

  async *#timelines(): AsyncGenerator<WalEntry, void, undefined> {
    const system = await this.#identify();
    const stop = { timeline: system.timeline, lsn: this.#options.stopLsn ?? system.flushLsn };
    let { timeline } = this.#options;
    let position = walSegmentStart(this.#options.startLsn, this.#segmentSizeBytes);
    if (timeline > 1) yield await this.#history(timeline);
    const left = await this.#timelineLeft(system, timeline);
    // Somebody else was promoted before it had received all that we have: the new timeline leaves ours behind our place.
    let next = left !== null && left.startLsn <= position ? left : null;
    for (;;) {
      if (next === null) {
        if (timeline >= stop.timeline && position >= stop.lsn) break;
        this.#confirmedLsn = position;
        next = yield* this.#stream(timeline, position, stop);
      }
      if (next === null) break;
      timeline = next.timeline;
      position = walSegmentStart(next.startLsn, this.#segmentSizeBytes);
      this.#receivedLsn = next.startLsn;
      next = null;
      yield await this.#history(timeline);
    }
    const lsn = this.#receivedLsn > position ? this.#receivedLsn : position;
    yield { kind: 'end', timeline, lsn };
  }

  async #identify(): Promise<SystemIdentity> {
    const system = await identifySystem(this.#wire);
    this.#segmentSizeBytes = system.walSegmentSizeBytes;
    const { systemIdentifier, timeline } = this.#options;
    if (systemIdentifier !== undefined) assertSameCluster(system, systemIdentifier);
    if (timeline > system.timeline) throw lost(`the server is on timeline ${system.timeline}, the chain on ${timeline}`);
    return system;
  }

  async #history(timeline: number): Promise<WalEntry> {
    const { name, bytes } = await fetchTimelineHistory(this.#wire, timeline);
    return { kind: 'history', name, timeline, bytes };
  }

  /** The child of `timeline` on the way to the server's newest, and where it begins; null when it is the newest. */
  async #timelineLeft(system: SystemIdentity, timeline: number): Promise<NextTimeline | null> {
    if (system.timeline === timeline) return null;
    const { ancestors } = await fetchTimelineHistory(this.#wire, system.timeline);
    const index = ancestors.findIndex((ancestor) => ancestor.timeline === timeline);
    const own = ancestors[index];
    if (own === undefined) throw lost(`timeline ${system.timeline} of the server does not come from timeline ${timeline}`);
    return { timeline: ancestors[index + 1]?.timeline ?? system.timeline, startLsn: own.endLsn };
  }

  async *#stream(
    timeline: number,
    from: Lsn,
    stop: { timeline: number; lsn: Lsn },
  ): AsyncGenerator<WalEntry, NextTimeline | null, undefined> {
    const wire = this.#wire;
    const { slot } = this.#options;
    wire.begin(
      `START_REPLICATION ${slot === null ? '' : `SLOT ${quoted(slot)} `}PHYSICAL ${formatLsn(from)} TIMELINE ${timeline}`,
      'reading_wal',
    );
    const segment = new SegmentBuffer(timeline, from, this.#segmentSizeBytes);
    let next: NextTimeline | null = null;
    let isStopped = false;
    this.#receivedLsn = from;
    for (;;) {
      const event = await wire.next();
      if (event.kind === 'ready') break;
      if (event.kind === 'copy-both') this.#isStreaming = true;
      else if (event.kind === 'copy-done' && !isStopped) {
        // The server's end of this timeline.
        isStopped = true;
        this.#stopStreaming();
      } else if (event.kind === 'result') next = nextTimelineOf(event.result.rows[0]);
      else if (event.kind === 'copy-data' && !isStopped) {
        yield* this.#take(segment);
        if (timeline < stop.timeline || this.#receivedLsn < stop.lsn) continue;
        isStopped = true;
        this.#stopStreaming();
      }
    }
    this.#isStreaming = false;
    const rest = segment.rest();
    if (rest !== null) yield rest;
    return next;
  }

  /** One message: WAL, or a sign of life. */
  async *#take(segment: SegmentBuffer): AsyncGenerator<WalEntry, void, undefined> {
    const wire = this.#wire;
    const head = await wire.takeData(walDataHeadBytes);
    if (head[0] === keepaliveType) {
      if (wantsReply(head)) this.#sendStatus();
      return;
    }
    if (head[0] !== walDataType || head.length < walDataHeadBytes) throw damaged(`a message of type ${head[0]}`);
    const startLsn = decodeWalDataStart(head);
    if (startLsn !== this.#receivedLsn) throw damaged(`WAL of ${formatLsn(startLsn)} where ${formatLsn(this.#receivedLsn)} was expected`);
    for (let slice = await wire.nextSlice(); slice !== null; slice = await wire.nextSlice()) {
      for (let at = 0; at < slice.length;) {
        const taken = segment.add(slice, at);
        at += taken;
        this.#receivedLsn += BigInt(taken);
        const full = segment.whole();
        if (full !== null) yield full;
      }
    }
  }

  #stopStreaming(): void {
    this.#sendStatus();
    this.#isStreaming = false;
    this.#wire.sendCopyDone();
  }

  #sendStatus(): void {
    if (!this.#isStreaming) return;
    const nextBoundary = walSegmentStart(this.#confirmedLsn, this.#segmentSizeBytes) + BigInt(this.#segmentSizeBytes);
    const flushedLsn = this.#receivedLsn < nextBoundary ? this.#receivedLsn : nextBoundary - 1n;
    const status = encodeStatus(this.#receivedLsn, flushedLsn, this.#options.nowMs());
    // Nobody waits for it: a connection that has ended says so to whoever takes the next entry.
    void this.#wire.sendCopyData(status);
  }
}

/** The segment that is being received. */
class SegmentBuffer {
  readonly #timeline: number;
  readonly #bytes: Buffer;
  #startLsn: Lsn;
  #filledBytes = 0;

  constructor(timeline: number, startLsn: Lsn, sizeBytes: number) {
    this.#timeline = timeline;
    this.#startLsn = startLsn;
    this.#bytes = Buffer.allocUnsafeSlow(sizeBytes);
  }

  /** Copies from `slice` at `from` what has room; gives how much that was. */
  add(slice: Buffer, from: number): number {
    const taken = slice.copy(this.#bytes, this.#filledBytes, from);
    this.#filledBytes += taken;
    invariant(taken > 0, 'a full segment was not taken');
    return taken;
  }

  /** The segment when it is full, which begins the next one. */
  whole(): WalEntry | null {
    if (this.#filledBytes < this.#bytes.length) return null;
    const entry = this.#entry(true);
    this.#startLsn += BigInt(this.#bytes.length);
    this.#filledBytes = 0;
    return entry;
  }

  /** What there is of an incomplete one. */
  rest(): WalEntry | null {
    return this.#filledBytes === 0 ? null : this.#entry(false);
  }

  #entry(isComplete: boolean): WalEntry {
    const bytes = this.#bytes.subarray(0, this.#filledBytes);
    const [timeline, startLsn] = [this.#timeline, this.#startLsn];
    const name = walSegmentName(timeline, startLsn, this.#bytes.length);
    return { kind: 'segment', name, timeline, startLsn, endLsn: startLsn + BigInt(bytes.length), bytes, isComplete };
  }
}

function nextTimelineOf(row: readonly (string | null)[] | undefined): NextTimeline | null {
  const [timeline, startLsn] = row ?? [];
  if (typeof timeline !== 'string' || typeof startLsn !== 'string') return null;
  return { timeline: Number(timeline), startLsn: parseLsn(startLsn) };
}

function lost(why: string): HoldfastError {
  return new HoldfastError('postgresql_wal_lost', why);
}

function damaged(what: string): HoldfastError {
  return new HoldfastError('postgresql_stream_damaged', `the log brought ${what}`);
}
