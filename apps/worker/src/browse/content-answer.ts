import type { SnapshotBrowser } from '@holdfast/engine/browse/snapshot-browser';
import { HoldfastError } from '@holdfast/errors/holdfast-error';
import type { BrowseRequest } from './browse-server.ts';
import { byteRangeOf, type ByteRange } from './byte-range.ts';
import { given, givenPath } from './question.ts';
import type { BytesAnswer } from './send-answer.ts';

/**
 * One file or a range of it, by the rules of RFC 9110. Its ETag is that of its content, so that the same file of two backups has the same; a
 * range with an If-Range that is something else is answered with the whole file.
 * Codes: snapshot_missing, path_not_found, request_invalid (no regular file), range_not_satisfiable, those of the storage.
 */
export async function contentAnswer(browser: SnapshotBrowser, { method, query, signal }: BrowseRequest): Promise<BytesAnswer> {
  const snapshotId = given(query, 'snapshotId');
  const path = givenPath(query);
  const { type, sizeBytes, contentId, modifiedNs } = await browser.entry(snapshotId, path, signal);
  if (type !== 'file' || contentId === undefined) {
    const message =
      type === 'dir' ? 'is a folder; GET /jobs/:id/archive sends folders' : `is no regular file but a ${type}, which has no content`;
    throw new HoldfastError('request_invalid', message, { context: { field: 'path' } });
  }
  const etag = `"${contentId}"`;
  const validators = { etag, 'last-modified': new Date(Number(modifiedNs / 1_000_000n)).toUTCString(), 'accept-ranges': 'bytes' };
  if (matches(query.get('ifNoneMatch'), etag)) return { status: 304, headers: validators, body: null };

  const ifRange = query.get('ifRange');
  const range = ifRange === null || ifRange === etag ? byteRangeOf(query.get('range'), sizeBytes) : null;
  const { offsetBytes, lengthBytes }: ByteRange = range ?? { offsetBytes: 0, lengthBytes: sizeBytes };
  const headers = { ...validators, 'content-length': String(lengthBytes) };
  const body = method === 'HEAD' ? null : browser.read(snapshotId, path, { offsetBytes, lengthBytes }, signal);
  if (range === null) return { status: 200, headers, body };
  const contentRange = `bytes ${offsetBytes}-${offsetBytes + lengthBytes - 1}/${sizeBytes}`;
  return { status: 206, headers: { ...headers, 'content-range': contentRange }, body };
}

/** If-None-Match: a star, or a list of tags, weak or not. */
function matches(header: string | null, etag: string): boolean {
  if (header === null) return false;
  return header.trim() === '*' || header.split(',').some((tag) => tag.trim().replace(/^W\//u, '') === etag);
}
