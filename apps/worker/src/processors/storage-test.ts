import { findRepository } from '@holdfast/database/repositories';
import { findStorageTestWork, finishStorageTest, type StorageTestWork } from '@holdfast/database/storage-tests';
import { runPayloadSchema } from '@holdfast/jobs/payloads';
import type { JobProcessor } from '@holdfast/jobs/queue-backend';
import { parseStorageOptions } from '@holdfast/storage/storage-options';
import type { Storage } from '@holdfast/storage/storage';
import { tryStorage, type StorageTrial } from '@holdfast/storage/try-storage';
import { untilAborted } from '@holdfast/storage/until-aborted';
import { endOfJob } from '../bullmq-error.ts';
import { openStorageAt, openStorageOf } from '../open-repository.ts';
import type { WorkerContext } from '../worker-context.ts';

/** Somebody waits: a storage that needs longer than this for six small calls is told as out of reach. */
const trialLimitMs = 15_000;
/** One blip of a line is no answer; a minute of trying again is none either. */
const giveUpAfterMs = 2_000;

/** Tries the place of a storage_tests row and leaves the answer in it. What is wrong with the place is the answer, not a failed job. */
export function processStorageTest(context: WorkerContext): JobProcessor {
  return async (job) => {
    const payload = runPayloadSchema.safeParse(job.data);
    if (!payload.success) throw endOfJob({ code: 'request_invalid', message: 'the payload is none of a storage test' });
    const { client } = context.database;
    const work = await findStorageTestWork(client, payload.data.id, context.masterKey);
    if (work === undefined) return null;
    const trial = await tryPlace(context, work);
    await finishStorageTest(client, payload.data.id, { ...trial }, context.clock.now());
    return trial.ok;
  };
}

async function tryPlace(context: WorkerContext, work: StorageTestWork): Promise<StorageTrial> {
  const { type, appendOnly } = parseStorageOptions(work.storageOptions);
  const limit = AbortSignal.timeout(trialLimitMs);
  try {
    // Opening may not hear the signal.
    return await untilAborted(
      tryStorage(() => openPlace(context, work), type, limit, { appendOnly }),
      limit,
    );
  } catch (error) {
    if (!limit.aborted) throw error;
    const message = `no answer within ${trialLimitMs / 1000} s`;
    return {
      ok: false,
      holdsRepository: null,
      steps: [{ step: 'open', ok: false, durationMs: trialLimitMs, errorCode: 'storage_unreachable', message }],
    };
  }
}

async function openPlace(context: WorkerContext, work: StorageTestWork): Promise<Storage> {
  if (work.repositoryId !== null) {
    return openStorageOf(context, await findRepository(context.database.client, '*', work.repositoryId), { giveUpAfterMs });
  }
  return openStorageAt(context, work.storageOptions, async () => work.credentials, { giveUpAfterMs });
}
