import { HoldfastError, isHoldfastError } from '@holdfast/errors/holdfast-error';
import type { RedisConnection } from './redis-connection.ts';
import { replyError } from './redis-error.ts';

/** A copy of the whole server, as it sends one to a new replica: the state at the fork that makes it, as an RDB file. */
export interface RdbTransfer {
  readonly replicationId: string;
  /** Of the last write that is in it. */
  readonly offset: number;
  /** The file, once. Codes: redis_busy (the server could not make it), redis_interrupted. */
  content(): AsyncGenerator<Buffer, void, undefined>;
}

/** `$EOF:` and 40 bytes that no one can foresee; they come again behind the file. */
const markBytes = 40;
const pieceBytes = 256 * 1024;

/**
 * Asks for a copy as a replica does: https://redis.io/docs/latest/operate/oss_and_stack/management/replication/. Resolves at the fork.
 * While it is made the server sends empty lines. Codes: redis_denied, redis_busy, redis_interrupted.
 */
export async function beginRdbTransfer(connection: RedisConnection): Promise<RdbTransfer> {
  // With it a server sends the file as it is made, without a file of its own; and since Redis 7 it does not collect the writes that follow.
  for (const words of [
    ['REPLCONF', 'capa', 'eof'],
    ['REPLCONF', 'rdb-only', '1'],
  ]) {
    await tolerated(connection, words);
  }
  await connection.send(['PSYNC', '?', '-1']);
  const answer = await lineWithWords(connection);
  const [, replicationId, offset] = /^\+FULLRESYNC ([0-9a-f]+) (\d+)$/u.exec(answer) ?? [];
  if (replicationId === undefined || offset === undefined) throw refused(answer, connection.place);
  return { replicationId, offset: Number(offset), content: () => receive(connection) };
}

/** What older servers do not know is no error of theirs. */
async function tolerated(connection: RedisConnection, words: readonly string[]): Promise<void> {
  try {
    await connection.command(words);
  } catch (error) {
    if (!isHoldfastError(error, 'redis_failed')) throw error;
  }
}

async function* receive(connection: RedisConnection): AsyncGenerator<Buffer, void, undefined> {
  const announced = await lineWithWords(connection);
  if (!announced.startsWith('$')) throw refused(announced, connection.place);
  if (announced.startsWith('$EOF:')) {
    yield* receiveToMark(connection, Buffer.from(announced.slice(5), 'latin1'));
    return;
  }
  const bytes = Number(announced.slice(1));
  if (!Number.isSafeInteger(bytes) || bytes < 0) throw refused(announced, connection.place);
  for (let missing = bytes; missing > 0;) {
    const piece = await connection.reader.some(Math.min(missing, pieceBytes));
    missing -= piece.length;
    yield piece;
  }
}

async function* receiveToMark(connection: RedisConnection, mark: Buffer): AsyncGenerator<Buffer, void, undefined> {
  if (mark.length !== markBytes) throw refused('$EOF:', connection.place);
  let held: Buffer = Buffer.alloc(0);
  for (;;) {
    const bytes = Buffer.concat([held, await connection.reader.some(pieceBytes)]);
    const border = Math.max(0, bytes.length - markBytes);
    // Nothing follows it before the replica says that it has read all.
    held = bytes.subarray(border);
    if (border > 0) yield bytes.subarray(0, border);
    if (held.equals(mark)) return;
  }
}

async function lineWithWords(connection: RedisConnection): Promise<string> {
  for (;;) {
    const line = await connection.reader.line();
    if (line !== '') return line;
  }
}

function refused(answer: string, place: string): HoldfastError {
  if (answer.startsWith('-')) return replyError(answer.slice(1), place, 'PSYNC');
  return new HoldfastError('redis_failed', `${place} answered PSYNC with: ${answer.slice(0, 200)}`);
}
