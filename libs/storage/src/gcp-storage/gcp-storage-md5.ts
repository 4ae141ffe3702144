import { createHash } from 'node:crypto';
import { setImmediate as nextTurn } from 'node:timers/promises';

/** The thread is held for some milliseconds by as many bytes. */
const hashedAtOnceBytes = 4 * 1024 * 1024;

/**
 * The MD5 of the parts' bytes, in base64 as the service writes it: no protection from anybody, but what it has of every object and
 * compares an upload with. Others get their turn between megabytes.
 */
export async function md5Of(parts: readonly Uint8Array[]): Promise<string> {
  const hash = createHash('md5');
  let heldBytes = 0;
  for (const part of parts) {
    for (let begin = 0; begin < part.byteLength; begin += hashedAtOnceBytes) {
      const slice = part.subarray(begin, begin + hashedAtOnceBytes);
      if (heldBytes + slice.byteLength > hashedAtOnceBytes) {
        await nextTurn();
        heldBytes = 0;
      }
      heldBytes += slice.byteLength;
      hash.update(slice);
    }
  }
  return hash.digest('base64');
}
