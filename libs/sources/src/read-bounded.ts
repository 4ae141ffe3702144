import { HoldfastError } from '@holdfast/errors/holdfast-error';

/** The text of a file that a backup has written, UTF-8. Codes: repository_damaged (more than `maxBytes`), those of the chunks. */
export async function readBounded(name: string, chunks: AsyncIterable<Uint8Array>, maxBytes: number): Promise<string> {
  const parts: Uint8Array[] = [];
  let bytes = 0;
  for await (const part of chunks) {
    bytes += part.length;
    if (bytes > maxBytes) throw new HoldfastError('repository_damaged', `${name} is larger than any of ours`);
    parts.push(part);
  }
  return Buffer.concat(parts).toString('utf8');
}
