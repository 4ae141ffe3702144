/** A piece of a dump: bytes as they stand, or a whole line that says what follows, with its end. */
export type DumpPiece =
  | { readonly kind: 'bytes'; readonly bytes: Buffer }
  | { readonly kind: 'mark'; readonly text: string; readonly bytes: Buffer };

/**
 * The comments at which mariadb-dump and mysqldump begin something else. No row holds such a line: the line breaks of values are
 * escaped, and what is binary is hexadecimal.
 */
const markPattern =
  /^-- (?:Current Database: |Table structure for table |Sequence structure for |Temporary (?:table|view) structure for view |Final view structure for view |Dumping (?:events|routines) for database |Dump completed|CHANGE (?:MASTER|REPLICATION SOURCE) TO )/u;
const beginning = Buffer.from('-- ');
const lineWithBeginning = Buffer.from('\n-- ');
const newline = 10;
/** A mark names at most two names of 64 characters; a longer line is none. */
const maxMarkBytes = 4096;

/** Cuts a dump at its marks. What is held back is never more than a chunk. */
export async function* cutAtMarks(dump: AsyncIterable<Buffer>): AsyncGenerator<DumpPiece, void, undefined> {
  let held: Buffer = Buffer.alloc(0);
  let isLineStart = true;
  for await (const chunk of dump) {
    let rest: Buffer = held.length === 0 ? chunk : Buffer.concat([held, chunk]);
    for (;;) {
      const at = isLineStart && startsAsComment(rest) ? 0 : rest.indexOf(lineWithBeginning) + 1;
      if (at === 0 && !(isLineStart && startsAsComment(rest))) {
        // The beginning of a mark may follow in the next chunk.
        const kept = isLineStart && rest.length < beginning.length ? rest.length : Math.min(rest.length, lineWithBeginning.length - 1);
        if (rest.length > kept) {
          yield { kind: 'bytes', bytes: rest.subarray(0, rest.length - kept) };
          isLineStart = false;
        }
        held = rest.subarray(rest.length - kept);
        break;
      }
      if (at > 0) yield { kind: 'bytes', bytes: rest.subarray(0, at) };
      rest = rest.subarray(at);
      isLineStart = true;
      const end = rest.indexOf(newline);
      if (end === -1 && rest.length <= maxMarkBytes) {
        held = rest;
        break;
      }
      const line = rest.subarray(0, end === -1 ? rest.length : end + 1);
      yield pieceOf(line);
      rest = rest.subarray(line.length);
      isLineStart = end !== -1;
    }
  }
  if (held.length > 0) yield pieceOf(held);
}

function startsAsComment(bytes: Buffer): boolean {
  return bytes.subarray(0, beginning.length).equals(beginning);
}

function pieceOf(line: Buffer): DumpPiece {
  const text = line.length > maxMarkBytes ? '' : line.toString('utf8').trimEnd();
  return markPattern.test(text) ? { kind: 'mark', text, bytes: line } : { kind: 'bytes', bytes: line };
}
