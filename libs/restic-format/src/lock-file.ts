import type { Cipher } from './cipher.ts';
import { encodeGoJson } from './go-json.ts';
import { JsonFields } from './json-fields.ts';
import { encodeTimestamp } from './timestamp.ts';
import { decodeUnpackedFile, encodeUnpackedFile } from './unpacked-file.ts';

/** A lock: who works on the repository since when, and whether alone. An unpacked file in `locks/`. */
export interface LockFile {
  /** When it was made or last refreshed: nanoseconds since 1970. */
  readonly timeNs: bigint;
  /** Minutes east of UTC in which the time is written; absent for UTC. */
  readonly zoneMinutes?: number;
  readonly exclusive: boolean;
  readonly hostname: string;
  readonly username: string;
  readonly pid: number;
  readonly uid?: number;
  readonly gid?: number;
}

const limitBytes = 64 * 1024;

/** The stored bytes; their hash is the lock's id. */
export function encodeLockFile(lock: LockFile, cipher: Cipher): Uint8Array {
  const json = encodeGoJson({
    time: encodeTimestamp(lock.timeNs, lock.zoneMinutes),
    exclusive: lock.exclusive,
    hostname: lock.hostname,
    username: lock.username,
    pid: lock.pid,
    uid: lock.uid || undefined,
    gid: lock.gid || undefined,
  });
  return encodeUnpackedFile(json, cipher, { compress: true });
}

/** The inverse. Errors: repository_damaged; repository_unsupported for an encoding that this version does not know. */
export function decodeLockFile(bytes: Uint8Array, cipher: Cipher): LockFile {
  const fields = new JsonFields(decodeUnpackedFile(bytes, cipher, 'a lock', limitBytes), 'a lock');
  const time = fields.timestamp('time');
  return {
    timeNs: time.ns,
    ...(time.zoneMinutes === 0 ? {} : { zoneMinutes: time.zoneMinutes }),
    exclusive: fields.boolean('exclusive'),
    hostname: fields.string('hostname'),
    username: fields.string('username'),
    pid: fields.uint('pid'),
    ...(fields.has('uid') ? { uid: fields.uint('uid') } : {}),
    ...(fields.has('gid') ? { gid: fields.uint('gid') } : {}),
  };
}
