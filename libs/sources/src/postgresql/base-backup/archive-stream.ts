import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { parseLsn, type Lsn } from '../lsn.ts';
import type { ResultSet } from '../wire/backend-message.ts';
import type { WireConnection, WireEvent } from '../wire/wire-connection.ts';
import { minFramedVersion } from './base-backup-command.ts';
import type { SliceSource } from './tar-reader.ts';

/**
 * What follows BASE_BACKUP, cut into its parts. First two result sets: start LSN and timeline, then the tablespaces with their sizes,
 * the data folder last, without oid. Then the archives in this order, the manifest, and a result set with end LSN and timeline:
 *
 *     15 and newer: one COPY whose messages begin with
 *       n   an archive begins: its name, 0, its folder, 0
 *       d   bytes of the archive, or of the manifest
 *       p   int64: bytes that the server has read
 *       m   the manifest begins
 *     14: a COPY for each archive, then one for the manifest, all without such bytes
 */
export interface BackupStart {
  readonly startLsn: Lsn;
  readonly timeline: number;
  readonly tablespaces: readonly Tablespace[];
  /** Of all files that the server has now, tablespaces too; what it reads may be less or more. */
  readonly estimatedBytes: number;
}

export interface Tablespace {
  readonly oid: number;
  /** The server's folder that pg_tblspc/<oid> points at. */
  readonly location: string;
  readonly estimatedBytes: number;
}

export type BackupPart =
  /** `tablespaceOid` is null for the data folder. */
  | { readonly kind: 'archive'; readonly tablespaceOid: number | null }
  | { readonly kind: 'manifest' }
  | { readonly kind: 'end'; readonly endLsn: Lsn; readonly timeline: number };

const framing = { archive: 0x6e, data: 0x64, progress: 0x70, manifest: 0x6d };
const archiveName = /^(?:base|(\d+))\.tar$/u;

/** Slices are those of the current part. */
export class ArchiveStream implements SliceSource {
  readonly #wire: WireConnection;
  readonly #isFramed: boolean;
  readonly #onProgress: (doneBytes: number) => void;
  #tablespaces: readonly Tablespace[] = [];
  #isInMessage = false;
  #copyCount = 0;
  #next: BackupPart | null = null;
  #doneBytes = 0;

  constructor(wire: WireConnection, onProgress: (doneBytes: number) => void) {
    this.#wire = wire;
    this.#isFramed = wire.serverVersion >= minFramedVersion;
    this.#onProgress = onProgress;
  }

  /** Waits for the server's checkpoint. */
  async start(): Promise<BackupStart> {
    const start = await this.#result();
    const { rows } = await this.#result();
    this.#tablespaces = rows
      .filter(([oid]) => oid !== null)
      .map(([oid, location, sizeKib]) => ({ oid: Number(oid), location: location ?? '', estimatedBytes: Number(sizeKib) * 1024 }));
    const estimatedBytes = rows.reduce((sum, row) => sum + Number(row[2] ?? 0) * 1024, 0);
    return { ...placeOf(start), tablespaces: this.#tablespaces, estimatedBytes };
  }

  /** The next part, after the slices of the last one; `end` is the last. */
  async nextPart(): Promise<BackupPart> {
    while (this.#next === null) if ((await this.nextSlice()) !== null) throw damaged('bytes that belong to no archive');
    const part = this.#next;
    this.#next = null;
    return part;
  }

  async nextSlice(): Promise<Buffer | null> {
    for (;;) {
      if (this.#isInMessage) {
        const slice = await this.#wire.nextSlice();
        if (slice !== null) return slice;
        this.#isInMessage = false;
      }
      if (this.#next !== null) return null;
      const event = await this.#wire.next();
      if (event.kind !== 'copy-data') {
        if (!(await this.#digest(event))) return null;
      } else if (this.#isFramed) {
        const data = await this.#unframe();
        if (data !== null && data.length > 0) return data;
      } else {
        this.#isInMessage = true;
        this.#progress(this.#doneBytes + event.sizeBytes);
      }
    }
  }

  takeSlice(): Buffer | null {
    for (;;) {
      if (this.#isInMessage) {
        const slice = this.#wire.takeSlice();
        if (slice !== null) return slice;
        if (this.#wire.leftBytes > 0) return null;
        this.#isInMessage = false;
      }
      // Whatever else has come is for nextSlice to look at.
      if (this.#next !== null || !this.#isFramed || !this.#wire.beginCopyData(framing.data)) return null;
      this.#isInMessage = true;
    }
  }

  /** Takes the first byte off a message. Gives the first data that follow it, null when it was none. */
  async #unframe(): Promise<Buffer | null> {
    const first = await this.#wire.nextSlice();
    if (first === null) throw damaged('an empty message');
    const type = first[0];
    if (type === framing.data) {
      this.#isInMessage = true;
      return first.subarray(1);
    }
    const rest = await this.#wire.wholeData();
    const body = Buffer.concat([first.subarray(1), rest]);
    if (type === framing.progress && body.length === 8) this.#progress(Number(body.readBigInt64BE(0)));
    else if (type === framing.manifest) this.#next = { kind: 'manifest' };
    else if (type === framing.archive) this.#next = this.#archiveNamed(body.toString('utf8', 0, body.indexOf(0)));
    else throw damaged(`a message of type ${type}`);
    return null;
  }

  /** An event that carries no data; false when the current part has ended. */
  async #digest(event: WireEvent): Promise<boolean> {
    if (event.kind === 'copy-out') {
      if (!this.#isFramed) this.#next = this.#copyNumber(this.#copyCount++);
      return this.#isFramed;
    }
    if (event.kind === 'copy-done') return this.#isFramed;
    if (event.kind !== 'result') throw damaged(`a ${event.kind}`);
    const { startLsn: endLsn, timeline } = placeOf(event.result);
    const last = await this.#wire.next();
    if (last.kind !== 'ready') throw damaged(`a ${last.kind} after the end`);
    this.#next = { kind: 'end', endLsn, timeline };
    return false;
  }

  #archiveNamed(name: string): BackupPart {
    const match = archiveName.exec(name);
    if (match === null) throw damaged(`an archive named ${JSON.stringify(name)}`);
    return { kind: 'archive', tablespaceOid: match[1] === undefined ? null : Number(match[1]) };
  }

  #copyNumber(index: number): BackupPart {
    if (index > this.#tablespaces.length) return { kind: 'manifest' };
    return { kind: 'archive', tablespaceOid: this.#tablespaces[index]?.oid ?? null };
  }

  #progress(doneBytes: number): void {
    this.#doneBytes = doneBytes;
    this.#onProgress(doneBytes);
  }

  async #result(): Promise<ResultSet> {
    const event = await this.#wire.next();
    if (event.kind !== 'result') throw damaged(`a ${event.kind} in place of a result`);
    return event.result;
  }
}

function placeOf({ rows }: ResultSet): { startLsn: Lsn; timeline: number } {
  const [lsn, timeline] = rows[0] ?? [];
  if (lsn === null || lsn === undefined || !Number.isInteger(Number(timeline))) throw damaged('a result without a place in the log');
  return { startLsn: parseLsn(lsn), timeline: Number(timeline) };
}

function damaged(what: string): HoldfastError {
  return new HoldfastError('postgresql_stream_damaged', `the base backup brought ${what}`);
}
