import { setTimeout as sleep } from 'node:timers/promises';
import { HoldfastError, isHoldfastError } from '@holdfast/errors/holdfast-error';
import type { Progress } from '@holdfast/jobs/progress';
import { apiPrefix, unreachable, type ApiClient } from '../api-client.ts';
import { problemError } from '../problem-error.ts';
import type { FileSink } from './file-sink.ts';

export interface GetFile {
  readonly jobId: string;
  /** As the API writes it. */
  readonly path: string;
  readonly sink: FileSink;
  readonly onProgress: (progress: Progress) => void;
  /** Before the first further try; it doubles with each. Default half a second. */
  readonly firstRetryMs?: number;
  readonly signal: AbortSignal;
}

/** In a row, with nothing coming in between. A worker that dies is replaced within seconds; a line that is down for longer is told. */
const maxTries = 5;
const defaultFirstRetryMs = 500;

/**
 * Downloads a file of a backup into a sink. When the connection breaks it goes on where that ended, as long as the file is the same; else it
 * begins anew. Gives its bytes. The sink is finished when all are there, and not otherwise.
 * Codes: those of the API, of the sink; the signal's reason.
 */
export async function getFile(client: ApiClient, get: GetFile): Promise<number> {
  const { sink, signal, firstRetryMs = defaultFirstRetryMs } = get;
  const download = new Download(client, get);
  for (let tries = 1; ; tries++) {
    const before = download.receivedBytes;
    const broken = await download.goOn();
    if (broken === null) break;
    if (download.receivedBytes > before) tries = 1;
    if (tries >= maxTries) throw broken;
    await sleep(firstRetryMs * 2 ** (tries - 1), undefined, { signal });
  }
  await sink.finish();
  return download.receivedBytes;
}

/** Nobody did the work: another worker may, or the same one later. */
const passingCodes = ['worker_unreachable', 'worker_busy', 'rate_limited'] as const;

class Download {
  receivedBytes = 0;
  readonly #client: ApiClient;
  readonly #get: GetFile;
  readonly #startedAtMs = performance.now();
  #etag: string | undefined;

  constructor(client: ApiClient, get: GetFile) {
    this.#client = client;
    this.#get = get;
  }

  /** Null when all of it is there; else what broke. Throws what does not get better. */
  async goOn(): Promise<HoldfastError | null> {
    const { signal, sink } = this.#get;
    const answer = await this.#ask();
    if (answer instanceof HoldfastError) return answer;
    if (this.receivedBytes > 0 && answer.status !== 206) {
      // Another file by now, or one without a tag: the whole of it comes.
      await sink.restart();
      this.receivedBytes = 0;
    }
    this.#etag = answer.headers.get('etag') ?? undefined;
    const bytesTotal = this.receivedBytes + Number(answer.headers.get('content-length'));
    const body = answer.body?.getReader();
    for (;;) {
      let chunk: Uint8Array | undefined;
      try {
        chunk = (await body?.read())?.value;
      } catch (error) {
        signal.throwIfAborted();
        return unreachable(this.#client.options.url, error);
      }
      if (chunk === undefined) break;
      await sink.write(chunk);
      this.receivedBytes += chunk.length;
      this.#report(bytesTotal);
    }
    if (this.receivedBytes === bytesTotal) return null;
    return new HoldfastError('internal', `the answer ended after ${this.receivedBytes} bytes of ${bytesTotal}`);
  }

  async #ask(): Promise<Response | HoldfastError> {
    const { url, token } = this.#client.options;
    const { jobId, path, signal } = this.#get;
    const target = `/jobs/${encodeURIComponent(jobId)}/files/content?${new URLSearchParams({ path }).toString()}`;
    const headers: Record<string, string> = token === undefined ? {} : { authorization: `Bearer ${token}` };
    if (this.receivedBytes > 0 && this.#etag !== undefined) {
      headers['range'] = `bytes=${this.receivedBytes}-`;
      headers['if-range'] = this.#etag;
    }
    let answer: Response;
    let text: string;
    try {
      answer = await fetch(`${url}${apiPrefix}${target}`, { headers, signal });
      if (answer.ok) return answer;
      text = await answer.text();
    } catch (error) {
      signal.throwIfAborted();
      return unreachable(url, error);
    }
    const error = problemError(`GET ${apiPrefix}${target}`, answer.status, text);
    if (passingCodes.some((code) => isHoldfastError(error, code))) return error;
    throw error;
  }

  #report(bytesTotal: number): void {
    const elapsedMs = performance.now() - this.#startedAtMs;
    const bytesPerSecond = elapsedMs === 0 ? 0 : (this.receivedBytes / elapsedMs) * 1000;
    this.#get.onProgress({
      phase: 'downloading',
      filesDone: this.receivedBytes === bytesTotal ? 1 : 0,
      filesTotal: 1,
      bytesDone: this.receivedBytes,
      bytesTotal,
      bytesPerSecond,
      elapsedMs,
      remainingMs: bytesPerSecond === 0 ? null : ((bytesTotal - this.receivedBytes) / bytesPerSecond) * 1000,
    });
  }
}
