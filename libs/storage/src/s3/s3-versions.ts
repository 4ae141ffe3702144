import { DeleteObjectCommand, HeadObjectCommand, PutObjectRetentionCommand, type S3Client } from '@aws-sdk/client-s3';
import { heldError, holdUntil, type ObjectHold } from '../hold.ts';
import { dayMs, lockOf, type ObjectLock } from './s3-put.ts';

/** One key of a bucket with versions, as every bucket with object locks is. */
export interface S3Key {
  readonly client: S3Client;
  readonly bucket: string;
  readonly key: string;
  /** Of the key in the repository. */
  readonly name: string;
  readonly location: string;
  readonly now: () => Date;
  /** Whether an error of the SDK says that nothing is there to be seen. Throws what it says instead, when it says more. */
  readonly isMissing: (error: unknown) => Promise<boolean>;
}

interface Version {
  readonly id: string | undefined;
  readonly hold: ObjectHold | undefined;
}

/** What holds the version that readers see; undefined when nothing does. Throws what the SDK throws. */
export async function holdOfS3Key(key: S3Key, signal: AbortSignal | undefined): Promise<ObjectHold | undefined> {
  return (await newestVersion(key, signal))?.hold;
}

/**
 * Deletes what readers see of a key. A delete without a version would only put a marker over the object: its bytes would stay, and be
 * paid for, with or without a lock. So versions are deleted, and as many of them as would come to light one after the other: at a server
 * that passes over `If-None-Match` a put that was tried again has left two. What a marker hides already is left to the bucket's lifecycle.
 * Throws storage_object_held, having changed nothing then, and what the SDK throws.
 */
export async function deleteS3Versions(key: S3Key, signal: AbortSignal | undefined): Promise<void> {
  for (let count = 0; count < maxVersions; count += 1) {
    const version = await newestVersion(key, signal);
    if (version === undefined) return;
    if (version.hold !== undefined) throw heldError(key.name, key.location, version.hold);
    const object = { Bucket: key.bucket, Key: key.key, VersionId: version.id };
    await key.client.send(new DeleteObjectCommand(object), signal === undefined ? {} : { abortSignal: signal });
  }
}

/**
 * Locks what readers see of a key for all its days from now on, when less than half of them is left; says whether it did. Only ever later:
 * a lock of compliance takes nothing else, and one of governance no less without a right that we do not ask for.
 * Throws what the SDK throws.
 */
export async function renewS3Lock(key: S3Key, lock: ObjectLock, signal: AbortSignal | undefined): Promise<boolean> {
  const sent = signal === undefined ? {} : { abortSignal: signal };
  const object = { Bucket: key.bucket, Key: key.key };
  const { VersionId, ObjectLockRetainUntilDate: until } = await key.client.send(new HeadObjectCommand(object), sent);
  const now = key.now();
  if (until !== undefined && until.getTime() - now.getTime() >= (lock.days * dayMs) / 2) return false;
  const { ObjectLockMode: Mode, ObjectLockRetainUntilDate: RetainUntilDate } = lockOf(lock, now);
  await key.client.send(new PutObjectRetentionCommand({ ...object, VersionId, Retention: { Mode, RetainUntilDate } }), sent);
  return true;
}

/** Of one object; a put that is tried again for minutes makes fewer. */
const maxVersions = 100;

async function newestVersion(key: S3Key, signal: AbortSignal | undefined): Promise<Version | undefined> {
  const command = new HeadObjectCommand({ Bucket: key.bucket, Key: key.key });
  try {
    const answer = await key.client.send(command, signal === undefined ? {} : { abortSignal: signal });
    const hold = holdUntil(answer.ObjectLockRetainUntilDate, answer.ObjectLockLegalHoldStatus === 'ON', key.now());
    return { id: answer.VersionId, hold };
  } catch (error) {
    if (await key.isMissing(error)) return undefined;
    throw error;
  }
}
