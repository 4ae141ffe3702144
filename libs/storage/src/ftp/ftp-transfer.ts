import { pipeline } from 'node:stream/promises';
import { type Client, FTPError, type FTPResponse } from 'basic-ftp';
import type { DataSocket } from './ftp-data-socket.ts';

/**
 * One command that moves bytes over a data connection. The server answers twice: 1xx when it begins, and 2xx, 4xx or 5xx when it is
 * through. The bytes and the last reply come over two connections and in any order; only both together say that all is there.
 */

/** What is handed to a connection at once: small enough that a slow line still shows that it moves. */
const sliceSizeBytes = 128 * 1024;
/** A server whose data connection was cut sees it at once; a dead line says nothing. */
const replyAfterEndMs = 5_000;
/** After a read that we cut short: Pure-FTPd loses a NOOP now and then, and a new session costs less than waiting for its answer. */
const replyAfterCutMs = 500;
/** Reading on to the end costs less than the two round trips of a read that is cut short. */
const readThroughBytes = 512 * 1024;
/** A folder of half a million objects. A longer listing is no repository's. */
const maxListingBytes = 64 * 1024 * 1024;

interface Moved<T> {
  readonly value: T;
  /** We ended the data connection before the server did: its complaint about that is no error. */
  readonly isCut?: boolean;
}

interface Transferred<T> {
  readonly value: T;
  /** The last reply; none after a read that was cut short. */
  readonly message: string;
}

/**
 * Rejects with the server's reply when it says why, else with what happened on the data connection, which is gone in any case.
 *
 * After a data connection that ended too early servers say one thing, two, or (Pure-FTPd) nothing that ends a transfer. A NOOP is sent
 * then, and what comes before its 200 belongs to the transfer: the session is in step again.
 */
async function transfer<T>(
  client: Client,
  data: DataSocket,
  command: string,
  move: (data: DataSocket) => Promise<Moved<T>>,
): Promise<Transferred<T>> {
  const { promise: begun, resolve: begin } = Promise.withResolvers<void>();
  let isReplied = false;
  let complaint: FTPError | undefined;
  let lateReply: NodeJS.Timeout | undefined;
  try {
    const replied: Promise<FTPResponse> = client.ftp.handle(command, (response, task) => {
      const isInStep = lateReply === undefined;
      if (response instanceof FTPError && !isInStep) complaint ??= response;
      else if (response instanceof Error) task.reject(response);
      else if (!isInStep && response.code === 200) task.resolve(response);
      else if (!isInStep) return;
      else if (response.code < 200) begin();
      else if (response.code < 300) task.resolve(response);
      else client.ftp.closeWithError(new Error(`${command.slice(0, 4)} was answered by ${String(response.code)}`));
    });
    const noteReply = (): void => void (isReplied = true);
    replied.then(noteReply, () => {
      noteReply();
      data.stream.destroy();
    });
    await Promise.race([begun, replied]);
    const getInStep = (limitMs: number): void => {
      if (isReplied) return;
      data.stream.destroy();
      lateReply = setTimeout(() => client.ftp.closeWithError(new Error('no reply after the data connection ended')), limitMs);
      client.ftp.send('NOOP');
    };
    const moving = move(data);
    moving.then(
      ({ isCut = false }) => isCut && getInStep(replyAfterCutMs),
      () => getInStep(replyAfterEndMs),
    );
    const [moved, reply] = await Promise.allSettled([moving, replied]);
    // A full disk ends the data connection too; the reply says why.
    if (moved.status === 'rejected') {
      throw complaint ?? (reply.status === 'rejected' && reply.reason instanceof FTPError ? reply.reason : moved.reason);
    }
    // All that was wanted is here; a session that is not in step again has been closed.
    if (moved.value.isCut === true) return { value: moved.value.value, message: '' };
    if (reply.status === 'rejected') throw reply.reason;
    return { value: moved.value.value, message: reply.value.message };
  } finally {
    clearTimeout(lateReply);
    data.stream.destroy();
  }
}

/** STOR. An abort ends the data connection and waits for the server's word about that, so that what it left can be removed. */
export async function storeBytes(
  client: Client,
  data: DataSocket,
  path: string,
  parts: readonly Uint8Array[],
  signal: AbortSignal | undefined,
): Promise<void> {
  await transfer(client, data, `STOR ${path}`, async ({ stream, ready }) => {
    await ready;
    // Nothing is sent to us; but tickets of TLS are, and the end.
    stream.resume();
    await pipeline(slicesOf(parts), stream, signal === undefined ? {} : { signal });
    return { value: undefined };
  });
}

function* slicesOf(parts: readonly Uint8Array[]): Iterable<Uint8Array> {
  for (const part of parts) {
    for (let begin = 0; begin < part.byteLength; begin += sliceSizeBytes) yield part.subarray(begin, begin + sliceSizeBytes);
  }
}

export interface Extent {
  readonly offsetBytes: number;
  readonly lengthBytes: number;
  /** Of the whole object. */
  readonly sizeBytes: number;
}

/** REST and RETR: hands the bytes of the extent to `take` in their order. Rejects when the object ends early or goes on past its size. */
export async function retrieveBytes(
  client: Client,
  data: DataSocket,
  path: string,
  extent: Extent,
  take: (chunk: Uint8Array) => void,
): Promise<void> {
  const { offsetBytes, lengthBytes, sizeBytes } = extent;
  if (offsetBytes > 0) await client.send(`REST ${String(offsetBytes)}`);
  await transfer(client, data, `RETR ${path}`, async ({ stream }) => {
    const availableBytes = sizeBytes - offsetBytes;
    let seenBytes = 0;
    const received: AsyncIterable<Uint8Array> = stream;
    for await (const chunk of received) {
      if (seenBytes < lengthBytes) take(chunk.subarray(0, lengthBytes - seenBytes));
      seenBytes += chunk.byteLength;
      if (seenBytes > availableBytes) throw new Error(`more than the ${String(sizeBytes)} bytes that the server named`);
      if (seenBytes >= lengthBytes && availableBytes - seenBytes > readThroughBytes) return { value: undefined, isCut: true };
    }
    if (seenBytes < availableBytes)
      throw new Error(`the data connection ended after ${String(seenBytes)} of ${String(availableBytes)} bytes`);
    return { value: undefined };
  });
}

/** MLSD or LIST: the text as it came, and the last reply, which may say that the folder could not be read after all. */
export async function retrieveListing(
  client: Client,
  data: DataSocket,
  command: string,
): Promise<{ readonly text: string; readonly message: string }> {
  const { value: text, message } = await transfer(client, data, command, async ({ stream }) => {
    const chunks: Uint8Array[] = [];
    let lengthBytes = 0;
    const received: AsyncIterable<Uint8Array> = stream;
    for await (const chunk of received) {
      lengthBytes += chunk.byteLength;
      if (lengthBytes > maxListingBytes) throw new Error(`a listing of more than ${String(maxListingBytes)} bytes`);
      chunks.push(chunk);
    }
    return { value: Buffer.concat(chunks).toString('utf8') };
  });
  return { text, message };
}
