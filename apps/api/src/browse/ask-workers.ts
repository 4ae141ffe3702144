import type { IncomingMessage } from 'node:http';
import { listWorkers } from '@holdfast/database/workers';
import { errorCodes, type ErrorCode } from '@holdfast/errors/error-codes';
import { HoldfastError, isHoldfastError } from '@holdfast/errors/holdfast-error';
import { deriveBrowseKey } from '@holdfast/jobs/browse/request-signature';
import { carriesLabel } from '@holdfast/policy/routing';
import { workersInTurn } from '@holdfast/policy/worker-choice';
import { z } from 'zod';
import { fieldError } from '../problem.ts';
import type { ServerDeps } from '../server-deps.ts';
import { callWorker } from './call-worker.ts';

/** Something about a repository that a worker is asked. Values that are undefined are left out of the query. */
export interface Question {
  readonly method?: 'GET' | 'HEAD';
  readonly path: string;
  readonly repositoryId: string;
  /** Those that carry it come first: a local folder may be on their machines only. */
  readonly workerLabel: string | null;
  readonly query: Readonly<Record<string, string | number | readonly string[] | undefined>>;
  /** Aborts when whoever wants to know has gone. */
  readonly signal: AbortSignal;
}

/** Each that is asked in vain may cost a connect timeout; after so many the fault is not with one of them. */
const askedMaxCount = 4;
/** A page of a thousand entries with long names. */
const answerMaxBytes = 16 * 1024 * 1024;
/** A refusal is a few lines. */
const refusalMaxBytes = 64 * 1024;

/** What another worker may be able to do: these say something of the one that answered. */
const othersMayDo: readonly ErrorCode[] = [
  'worker_busy',
  'path_outside_roots',
  'storage_host_not_allowed',
  'repository_missing',
  'storage_unreachable',
  'storage_denied',
  'run_interrupted',
];

const refusalSchema = z.object({
  code: z.string().refine((code): code is ErrorCode => Object.hasOwn(errorCodes, code)),
  message: z.string(),
  hint: z.string(),
  context: z.record(z.string(), z.unknown()),
});

/** Asks the workers of the service, each repository's own first and the next when it cannot. */
export interface Workers {
  /** The head of an answer that is none of refusal; its body is to be read or destroyed. Codes: worker_unreachable, worker_busy, those of the worker. */
  open(question: Question): Promise<IncomingMessage>;
  /** As `open`, with the answer read whole and checked. */
  json<T>(question: Question, schema: z.ZodType<T>): Promise<T>;
}

export function createWorkers({ config, database, now, logger }: Pick<ServerDeps, 'config' | 'database' | 'now' | 'logger'>): Workers {
  const key = deriveBrowseKey(config.masterKey.bytes);

  const open = async (question: Question): Promise<IncomingMessage> => {
    const { method = 'GET', repositoryId, workerLabel, signal } = question;
    const alive = (await listWorkers(database.client)).flatMap((worker) =>
      worker.isAlive && worker.browseUrl !== null ? [{ ...worker, browseUrl: worker.browseUrl }] : [],
    );
    const carrying = workersInTurn(alive, repositoryId, (worker) => carriesLabel(worker, workerLabel));
    const others = workersInTurn(alive, repositoryId, (worker) => !carriesLabel(worker, workerLabel) && carriesLabel(worker, null));
    const target = targetOf(question);
    let failure = new HoldfastError('worker_unreachable', 'no worker is there that could look into the backup');
    for (const { id, browseUrl } of [...carrying, ...others].slice(0, askedMaxCount)) {
      try {
        return await answered(await callWorker({ url: browseUrl, method, target, signal }, key, now()));
      } catch (error) {
        if (!isHoldfastError(error) || !(othersMayDo.includes(error.code) || error.code === 'worker_unreachable')) throw error;
        logger.warn({ worker: id, path: question.path, code: error.code, reason: error.message }, 'a worker could not look into a backup');
        // What a worker said of the backup tells more than that another is away.
        if (error.code !== 'worker_unreachable' || failure.code === 'worker_unreachable') failure = error;
      }
    }
    throw failure;
  };
  return {
    open,
    async json(question, schema) {
      const answer = schema.safeParse(JSON.parse(await textOf(await open(question), answerMaxBytes)));
      if (answer.success) return answer.data;
      throw new HoldfastError('internal', `a worker answered ${question.path} with something else`, { cause: answer.error });
    },
  };
}

function targetOf({ path, repositoryId, query }: Question): string {
  const pairs = Object.entries({ repositoryId, ...query }).flatMap(([name, value]) => {
    const values: readonly (string | number | undefined)[] = Array.isArray(value) ? value : [value];
    return values.flatMap((each) => (each === undefined ? [] : [[name, String(each)]]));
  });
  return `${path}?${new URLSearchParams(pairs).toString()}`;
}

/** The answer, unless it is a refusal: that is thrown as the error that it names. */
async function answered(answer: IncomingMessage): Promise<IncomingMessage> {
  const { statusCode = 0 } = answer;
  if (statusCode < 400) return answer;
  const refusal = refusalSchema.safeParse(parsed(await textOf(answer, refusalMaxBytes)));
  if (!refusal.success) throw new HoldfastError('worker_unreachable', `what answers for a worker said ${statusCode} and no reason`);
  const { code, message, hint, context } = refusal.data;
  // The caller's token has nothing to do with it.
  if (statusCode === 401) throw new HoldfastError('worker_unreachable', `a worker takes no request of ours: ${message}`, { hint });
  const { field } = context;
  if (code === 'request_invalid' && typeof field === 'string') throw fieldError(code, [{ field, message }]);
  throw new HoldfastError(code, message, { hint, context });
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // Something that is no worker of ours, such as a proxy's page.
    return undefined;
  }
}

async function textOf(answer: IncomingMessage, maxBytes: number): Promise<string> {
  const parts: Buffer[] = [];
  let sizeBytes = 0;
  try {
    const pieces: AsyncIterable<Uint8Array> = answer;
    for await (const piece of pieces) {
      const bytes = Buffer.from(piece);
      sizeBytes += bytes.length;
      if (sizeBytes > maxBytes) throw new HoldfastError('internal', `a worker's answer is longer than ${maxBytes} bytes`);
      parts.push(bytes);
    }
  } catch (error) {
    if (isHoldfastError(error)) throw error;
    throw new HoldfastError('worker_unreachable', 'the worker ended in the middle of its answer', { cause: error });
  }
  return Buffer.concat(parts).toString('utf8');
}
