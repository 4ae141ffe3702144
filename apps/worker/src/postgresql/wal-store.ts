import type { StreamSink } from '@holdfast/engine/archive-stream/stream-tree';
import type { WalFacts } from '@holdfast/policy/recovery-facts';
import { parseTimelineHistory } from '@holdfast/sources/postgresql/wal/timeline-history';
import type { WalEntry } from '@holdfast/sources/postgresql/wal/wal-receiver';
import { WalScanner } from '@holdfast/sources/postgresql/wal/wal-scanner';

/** What a snapshot of WAL holds: `/wal/<segment>` and `/wal/<timeline>.history`, and beside it how it is used and what it is. */
export const walPaths: readonly string[] = ['/README.txt', '/backup.json', '/wal'];

type Piece = WalFacts['pieces'][number];
export type StoredWal = Pick<WalFacts, 'pieces' | 'histories' | 'restorePoints'>;

/** What has come of one timeline. */
interface OpenPiece {
  readonly piece: Piece;
  readonly scanner: WalScanner;
}

/** Zeros are written in pieces of so many bytes. */
const zeros = Buffer.alloc(64 * 1024);

/** Stores what a receiver brings; `complete` of the pieces is left to who knows the server's clock. Codes: those of both. */
export async function storeWal(
  entries: AsyncIterable<WalEntry>,
  sink: StreamSink,
  { segmentSizeBytes, madeAtNs }: { readonly segmentSizeBytes: number; readonly madeAtNs: bigint },
): Promise<StoredWal> {
  const taken: OpenPiece[] = [];
  const histories: WalFacts['histories'] = [];
  for await (const entry of entries) {
    if (entry.kind === 'end') {
      // Nothing new, at the end of a segment: that is said as well, so that it is known to be all.
      if (taken.length === 0) taken.push(openPiece(entry.timeline, entry.lsn, entry.lsn));
      break;
    }
    if (entry.kind === 'history') {
      const parents = parseTimelineHistory(entry.bytes).map(({ timeline, endLsn }) => ({ timeline, switchLsn: endLsn }));
      histories.push({ timeline: entry.timeline, parents });
      await addFile(sink, `/wal/${entry.name}`, [entry.bytes], madeAtNs);
      continue;
    }
    const { timeline, startLsn, endLsn, bytes } = entry;
    let last = taken.at(-1);
    if (last?.piece.timeline !== timeline) {
      last = openPiece(timeline, startLsn, endLsn);
      taken.push(last);
    }
    last.scanner.scan(startLsn, bytes);
    last.piece.toLsn = endLsn;
    await addFile(sink, `/wal/${entry.name}`, padded(bytes, segmentSizeBytes), madeAtNs);
  }
  return {
    pieces: taken.map(({ piece, scanner }) => ({ ...piece, lastCommit: scanner.lastCommitUs })),
    histories,
    restorePoints: taken.flatMap(({ piece, scanner }) => scanner.restorePoints.map((point) => ({ ...point, timeline: piece.timeline }))),
  };
}

function openPiece(timeline: number, fromLsn: bigint, toLsn: bigint): OpenPiece {
  return { piece: { timeline, fromLsn, toLsn, lastCommit: null, complete: null }, scanner: new WalScanner() };
}

export async function addFile(sink: StreamSink, path: string, content: Iterable<Uint8Array>, madeAtNs: bigint): Promise<void> {
  const times = { modifiedNs: madeAtNs, accessedNs: madeAtNs, changedNs: madeAtNs };
  const node = { type: 'file' as const, mode: 0o600, ...times, uid: 0, gid: 0, inode: 0n, deviceId: 0n, linkCount: 1n };
  await sink.addFile(path, node, piecewise(content));
}

/** A server reads whole segments only: behind the end of the log one is full of zeros, as it is when the server makes it. */
function* padded(bytes: Buffer, sizeBytes: number): Generator<Uint8Array> {
  yield bytes;
  for (let left = sizeBytes - bytes.length; left > 0; left -= zeros.length) yield zeros.subarray(0, Math.min(left, zeros.length));
}

async function* piecewise(content: Iterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  yield* content;
}
