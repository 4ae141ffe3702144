import { HoldfastError } from '@holdfast/errors/holdfast-error';

/** The first line of MariaDB's dumps since 2024: older clients, and those of MySQL, take it for an error. The client's binary-mode does the same. */
const sandboxPattern = /^\/\*M?!999999\\- enable the sandbox mode \*\/ *\n/u;
const headBytes = 256;
const completed = /(?:^|\n)-- Dump completed[^\n]*\n?$/u;
const tailBytes = 256;

/** Code: mysql_interrupted, for a dump that does not say at its end that it is complete, though its program did not fail. */
export async function* wholeDump(dump: AsyncIterable<Buffer>, place: string): AsyncGenerator<Buffer, void, undefined> {
  let head: Buffer | null = Buffer.alloc(0);
  let tail: Buffer = Buffer.alloc(0);
  for await (const chunk of dump) {
    tail = Buffer.concat([tail, chunk.subarray(-tailBytes)]).subarray(-tailBytes);
    if (head === null) {
      yield chunk;
      continue;
    }
    head = Buffer.concat([head, chunk]);
    if (head.length < headBytes) continue;
    yield withoutSandboxLine(head);
    head = null;
  }
  if (head !== null) yield withoutSandboxLine(head);
  if (completed.test(tail.toString('latin1'))) return;
  throw new HoldfastError('mysql_interrupted', `a dump of ${place} ended without saying that it is complete`);
}

/** Of the beginning of a dump. */
export function withoutSandboxLine(head: Buffer): Buffer {
  const [line] = sandboxPattern.exec(head.subarray(0, headBytes).toString('latin1')) ?? [''];
  return head.subarray(line.length);
}
