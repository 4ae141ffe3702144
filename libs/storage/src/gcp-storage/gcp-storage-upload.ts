import { randomBytes } from 'node:crypto';
import { isTransientName } from '../object-name.ts';
import { hashOfParts } from '../remote/body.ts';
import type { GcpStorageOptions } from './gcp-storage-options.ts';

/**
 * An object and what is said of it as one body (multipart/related):
 *
 *     --b⏎ content-type: application/json⏎⏎ { "name": …, "md5Hash": …, … }⏎ --b⏎ content-type: application/octet-stream⏎⏎ bytes ⏎--b--⏎
 *
 * The service compares the MD5 with what arrived, and refuses the upload when they differ.
 */
export interface GcpUpload {
  readonly contentType: string;
  readonly body: readonly Uint8Array[];
}

export interface GcpUploadOptions extends Pick<GcpStorageOptions, 'storageClass' | 'retention'> {
  /** The object's name without the prefix: packs have a class, and locks, which come and go by the minute, are not kept. */
  readonly objectName: string;
}

const dayMs = 24 * 60 * 60 * 1000;

/** The bytes themselves are not copied. */
export async function makeUpload(
  name: string,
  parts: readonly Uint8Array[],
  { storageClass, retention, objectName }: GcpUploadOptions,
  nowMs: number = Date.now(),
): Promise<GcpUpload> {
  const metadata = {
    name,
    contentType: 'application/octet-stream',
    md5Hash: (await hashOfParts('md5', parts, undefined)).toString('base64'),
    ...(storageClass !== undefined && objectName.startsWith('data/') ? { storageClass } : {}),
    ...(retention === undefined || isTransientName(objectName) ? {} : { retention: retentionOf(retention, nowMs) }),
  };
  const boundary = randomBytes(24).toString('hex');
  const head = [
    `--${boundary}`,
    'content-type: application/json; charset=UTF-8',
    '',
    JSON.stringify(metadata),
    `--${boundary}`,
    'content-type: application/octet-stream',
    '',
    '',
  ];
  return {
    contentType: `multipart/related; boundary=${boundary}`,
    body: [Buffer.from(head.join('\r\n')), ...parts, Buffer.from(`\r\n--${boundary}--\r\n`)],
  };
}

function retentionOf({ days, mode }: NonNullable<GcpStorageOptions['retention']>, nowMs: number): Readonly<Record<string, string>> {
  return { mode: mode === 'locked' ? 'Locked' : 'Unlocked', retainUntilTime: new Date(nowMs + days * dayMs).toISOString() };
}
