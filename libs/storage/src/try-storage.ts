import { randomBytes } from 'node:crypto';
import { HoldfastError, asHoldfastError, isHoldfastError } from '@holdfast/errors/holdfast-error';
import { trialFolder } from './object-name.ts';
import type { StorageOptions } from './storage-options.ts';
import type { Storage } from './storage.ts';

/**
 * Tries a place before it is relied on: what a repository needs of it is done once with a small object, and each step says how it went.
 * The object's folder is none of a repository's, so one that is there already is not disturbed.
 */
export interface StorageTrial {
  readonly ok: boolean;
  readonly steps: readonly TrialStep[];
  /** Whether a repository lies there already; null when that could not be seen. */
  readonly holdsRepository: boolean | null;
}

export interface TrialStep {
  readonly step: TrialStepName;
  readonly ok: boolean;
  readonly durationMs: number;
  readonly errorCode?: string;
  /** What was wrong, as the storage said it. */
  readonly message?: string;
  /** What to do about it; for a refusal the right that is missing, in the words of the kind. */
  readonly hint?: string;
}

export type TrialStepName = 'open' | 'look' | 'write' | 'read' | 'list' | 'refuse_overwrite' | 'delete';

const trialSizeBytes = 4096;

/** What a step is called in the rights of a kind. */
type Rights = Readonly<Record<Exclude<TrialStepName, 'open'>, string>>;
const rights: Readonly<Record<StorageOptions['type'], Rights>> = {
  local: byFolder('the folder'),
  ftp: byFolder('the folder at the server'),
  sftp: byFolder('the folder at the server'),
  s3: {
    look: 's3:GetObject on the objects and s3:ListBucket on the bucket',
    write: 's3:PutObject on the objects',
    read: 's3:GetObject on the objects',
    list: 's3:ListBucket on the bucket',
    refuse_overwrite: 's3:GetObject on the objects',
    delete: 's3:DeleteObject on the objects, with objectLock s3:DeleteObjectVersion too',
  },
  azure_blob: {
    look: 'Read on the container (r in a SAS)',
    write: 'Create on the container (c in a SAS)',
    read: 'Read on the container (r in a SAS)',
    list: 'List on the container (l in a SAS)',
    refuse_overwrite: 'Create on the container (c in a SAS)',
    delete: 'Delete on the container (d in a SAS)',
  },
  gcp_storage: {
    look: 'storage.objects.get on the bucket',
    write: 'storage.objects.create on the bucket',
    read: 'storage.objects.get on the bucket',
    list: 'storage.objects.list on the bucket',
    refuse_overwrite: 'storage.objects.create on the bucket',
    delete: 'storage.objects.delete on the bucket',
  },
};

function byFolder(where: string): Rights {
  const [read, write] = [`to read and enter ${where}`, `to write to ${where}`];
  return { look: read, write, read, list: read, refuse_overwrite: write, delete: write };
}

/**
 * Does every step that can still be done after one that failed; leaves nothing behind where deleting is allowed. Where it is not, as in a
 * storage that can only be added to, the object stays and the step says so, unless the options have it so (`appendOnly`). Errors of the
 * storage are part of the answer; an abort is thrown.
 */
export async function tryStorage(
  open: () => Promise<Storage>,
  kind: StorageOptions['type'],
  signal: AbortSignal,
  { appendOnly = false }: Pick<StorageOptions, 'appendOnly'> = {},
): Promise<StorageTrial> {
  const name = `${trialFolder}${randomBytes(32).toString('hex')}`;
  const bytes = randomBytes(trialSizeBytes);
  const steps: TrialStep[] = [];
  const run = async <T>(step: TrialStepName, work: () => Promise<T>): Promise<T | undefined> => {
    const startedAtMs = performance.now();
    const took = (): number => Math.round(performance.now() - startedAtMs);
    try {
      const result = await work();
      steps.push({ step, ok: true, durationMs: took() });
      return result;
    } catch (error) {
      signal.throwIfAborted();
      const { code: errorCode, message, hint } = asHoldfastError(error);
      const isRefused = errorCode === 'storage_denied' && step !== 'open';
      const missing = isRefused ? `check the credentials, and that they have the right: ${rights[kind][step]}` : hint;
      steps.push({ step, ok: false, durationMs: took(), errorCode, message, ...(missing === undefined ? {} : { hint: missing }) });
      return undefined;
    }
  };
  const storage = await run('open', open);
  if (storage === undefined) return { ok: false, steps, holdsRepository: null };
  try {
    const holdsRepository = await tryCalls(storage, { name, bytes, signal, run, appendOnly });
    return { ok: steps.every(({ ok }) => ok), steps, holdsRepository };
  } finally {
    await storage.close();
  }
}

interface Trial {
  readonly name: string;
  readonly bytes: Buffer;
  readonly signal: AbortSignal;
  readonly appendOnly: boolean;
  readonly run: <T>(step: TrialStepName, work: () => Promise<T>) => Promise<T | undefined>;
}

/** Whether a repository is there; null when that could not be seen. */
async function tryCalls(storage: Storage, { name, bytes, signal, run, appendOnly }: Trial): Promise<boolean | null> {
  const holdsRepository = await run('look', () => isThere(storage, 'config', signal));
  const written = await run('write', async () => {
    await storage.put(name, bytes, { signal });
    return true;
  });
  if (written === true) {
    await run('read', async () =>
      assertTrial(bytes.equals(await storage.get(name, { signal })), 'other bytes came back than were written'),
    );
    await run('list', async () => assertTrial(await isListed(storage, name, signal), 'what was written is not listed'));
    await run('refuse_overwrite', async () => {
      assertTrial(await refuses(storage.put(name, Buffer.from('other'), { signal })), 'an object that was there was replaced');
    });
    await run('delete', async () => {
      try {
        await storage.delete(name, { signal });
      } catch (error) {
        if (appendOnly && isHoldfastError(error, 'storage_denied')) return;
        throw error;
      }
      assertTrial(!(await isThere(storage, name, signal)), 'what was deleted is still there');
    });
  } else {
    await run('list', () => isListed(storage, name, signal));
  }
  return holdsRepository ?? null;
}

async function isThere(storage: Storage, name: string, signal: AbortSignal): Promise<boolean> {
  try {
    await storage.stat(name, { signal });
    return true;
  } catch (error) {
    if (asHoldfastError(error).code === 'storage_object_missing') return false;
    throw error;
  }
}

async function isListed(storage: Storage, name: string, signal: AbortSignal): Promise<boolean> {
  for await (const object of storage.list(trialFolder, { signal })) if (object.name === name) return true;
  return false;
}

async function refuses(put: Promise<void>): Promise<boolean> {
  try {
    await put;
    return false;
  } catch (error) {
    if (asHoldfastError(error).code === 'storage_object_exists') return true;
    throw error;
  }
}

function assertTrial(holds: boolean, message: string): void {
  if (!holds)
    throw new HoldfastError('storage_unreachable', message, { hint: 'this storage does not keep what it promises; choose another' });
}
