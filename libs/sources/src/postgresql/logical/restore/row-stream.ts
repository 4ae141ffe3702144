import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { copyTrailer } from '../copy-statement.ts';

/**
 * The rows of a table's file, for a COPY that is no script: what comes after the header, without the line that ends it for psql.
 * Code: repository_damaged, when the file ends otherwise.
 */
export async function* rowsOf(
  content: AsyncIterable<Uint8Array>,
  onBytes: (bytes: number) => void,
): AsyncGenerator<Uint8Array, void, undefined> {
  // The last bytes seen, which may be the trailer's.
  let held = Buffer.alloc(0);
  for await (const chunk of content) {
    onBytes(chunk.length);
    const keptFrom = Math.max(0, chunk.length - copyTrailer.length);
    if (keptFrom > 0) {
      if (held.length > 0) yield held;
      yield chunk.subarray(0, keptFrom);
      held = Buffer.from(chunk.subarray(keptFrom));
      continue;
    }
    const joined = Buffer.concat([held, chunk]);
    const border = Math.max(0, joined.length - copyTrailer.length);
    if (border > 0) yield joined.subarray(0, border);
    held = joined.subarray(border);
  }
  if (!held.equals(copyTrailer)) throw new HoldfastError('repository_damaged', 'the file of a table does not end as it must');
}
