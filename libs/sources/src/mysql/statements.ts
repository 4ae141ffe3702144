import { runProgram, type ProgramRun } from './run-program.ts';

/** What a statement runs at: a server, by the programs of it. */
export type StatementPlace = Pick<ProgramRun, 'programs' | 'connection' | 'scratch' | 'signal'>;

/** A catalog of a hundred thousand tables. */
const maxOutputBytes = 256 * 1024 * 1024;
/**
 * Statements arrive by standard input, whose lines the client would else search for commands of its own, one of which runs programs:
 * with binary-mode it knows none but DELIMITER.
 */
export const clientArguments = ['--batch', '--skip-column-names', '--binary-mode', '--default-character-set=utf8mb4', '--quick'] as const;

/** Runs statements, one after the other, until one fails; the rows of all of them, each a list of texts. Codes: mysql_*. */
export async function runStatements(place: StatementPlace, sql: string, database?: string): Promise<string[][]> {
  const pieces: Buffer[] = [];
  let bytes = 0;
  const args = [...clientArguments, ...(database === undefined ? [] : [`--database=${database}`])];
  for await (const piece of runProgram({ ...place, program: 'client', args, input: textInput(sql) })) {
    bytes += piece.length;
    if (bytes > maxOutputBytes) throw new RangeError(`statements answered with more than ${maxOutputBytes} bytes`);
    pieces.push(piece);
  }
  const lines = Buffer.concat(pieces).toString('utf8').split('\n').slice(0, -1);
  return lines.map((line) => line.split('\t').map(unescapeField));
}

export async function* textInput(text: string): AsyncGenerator<Uint8Array> {
  yield Buffer.from(text);
}

/** `name` as an identifier. */
export function quoteName(name: string): string {
  return `\`${name.replaceAll('`', '``')}\``;
}

/** As a text, whatever the sql_mode and the character set. */
export function quoteText(text: string): string {
  return `CONVERT(x'${Buffer.from(text).toString('hex')}' USING utf8mb4)`;
}

/** As the client writes a field with --batch. */
function unescapeField(field: string): string {
  return field.replaceAll(/\\([nt0\\])/gu, (_, character: string) => ({ n: '\n', t: '\t', '0': '\0' })[character] ?? character);
}
