import { HoldfastError } from '@holdfast/errors/holdfast-error';

/** A stretch of a file. */
export interface ByteRange {
  readonly offsetBytes: number;
  readonly lengthBytes: number;
}

const rangeHeader = /^bytes *= *(?:(\d{1,15})-(\d{1,15})?|-(\d{1,15}))$/iu;

/**
 * The one range that a Range header asks for (RFC 9110, 14.2); null for the whole file: without a header, for a unit or a form that is not known,
 * and for several ranges at once, which nobody has to answer. A range that goes over the end ends there.
 * Code: range_not_satisfiable (context `sizeBytes`), for one that begins behind the end.
 */
export function byteRangeOf(header: string | null, sizeBytes: number): ByteRange | null {
  const match = rangeHeader.exec(header?.trim() ?? '');
  if (match === null) return null;
  const [, first, last, suffix] = match;
  if (suffix !== undefined) {
    const lengthBytes = Math.min(Number(suffix), sizeBytes);
    if (lengthBytes === 0) throw outside(sizeBytes);
    return { offsetBytes: sizeBytes - lengthBytes, lengthBytes };
  }
  const offsetBytes = Number(first);
  const end = last === undefined ? sizeBytes : Number(last) + 1;
  // Not a range at all, by the RFC.
  if (end <= offsetBytes && last !== undefined) return null;
  if (offsetBytes >= sizeBytes) throw outside(sizeBytes);
  return { offsetBytes, lengthBytes: Math.min(end, sizeBytes) - offsetBytes };
}

function outside(sizeBytes: number): HoldfastError {
  return new HoldfastError('range_not_satisfiable', `the range lies outside of the file, which has ${sizeBytes} bytes`, {
    context: { sizeBytes },
  });
}
