import { hash } from 'node:crypto';
import type { LogEntry } from './log-manifest.ts';

/** Logs of the last run that no file of this one has yet, to be found by how they begin. */
export class FreeLogs {
  readonly #byLog = new Map<string, LogEntry>();
  /** By the length of the head, then by its hash. */
  readonly #byHead = new Map<number, Map<string, Set<LogEntry>>>();

  add(entry: LogEntry): void {
    this.#byLog.set(entry.log, entry);
    // Without a tail, or of nothing, there is too little to know it by.
    if (entry.tail === null || entry.toByte === 0) return;
    const { bytes, sha256 } = entry.head;
    const heads = this.#byHead.get(bytes) ?? new Map<string, Set<LogEntry>>();
    this.#byHead.set(bytes, heads);
    const entries = heads.get(sha256) ?? new Set<LogEntry>();
    heads.set(sha256, entries);
    entries.add(entry);
  }

  has(log: string): boolean {
    return this.#byLog.has(log);
  }

  delete(log: string): void {
    const entry = this.#byLog.get(log);
    if (entry === undefined) return;
    this.#byLog.delete(log);
    this.#byHead.get(entry.head.bytes)?.get(entry.head.sha256)?.delete(entry);
  }

  values(): Iterable<LogEntry> {
    return this.#byLog.values();
  }

  /** Those that begin as `head` does: the one of which most is known first. */
  beginningAs(head: Uint8Array): LogEntry[] {
    const found: LogEntry[] = [];
    for (const [bytes, heads] of this.#byHead) {
      if (bytes <= head.length) found.push(...(heads.get(hash('sha256', head.subarray(0, bytes))) ?? []));
    }
    return found.toSorted((a, b) => b.toByte - a.toByte);
  }
}
