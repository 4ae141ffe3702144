import type { ErrorCode } from '@holdfast/errors/error-codes';
import { HoldfastError } from '@holdfast/errors/holdfast-error';

/**
 * The door at which the complaints of MariaDB's and MySQL's programs become ours. A message may be in any language, its number is not:
 * `ERROR 1045 (28000): Access denied`, `mariadb-dump: Got error: 2002: "Can't connect…"`, or at its end: `… (1412)`.
 */
const codeByNumber: Readonly<Record<number, ErrorCode>> = {
  1044: 'mysql_denied',
  1142: 'mysql_denied',
  1143: 'mysql_denied',
  1227: 'mysql_denied',
  1370: 'mysql_denied',
  1698: 'mysql_login_failed',
  1045: 'mysql_login_failed',
  1130: 'mysql_login_failed',
  1820: 'mysql_login_failed',
  1862: 'mysql_login_failed',
  3118: 'mysql_login_failed',
  4151: 'mysql_login_failed',
  1251: 'mysql_login_failed',
  2059: 'mysql_login_failed',
  1040: 'mysql_busy',
  1203: 'mysql_busy',
  1205: 'mysql_busy',
  1213: 'mysql_busy',
  1317: 'mysql_interrupted',
  1927: 'mysql_interrupted',
  1053: 'mysql_interrupted',
  1077: 'mysql_interrupted',
  2006: 'mysql_interrupted',
  2013: 'mysql_interrupted',
  2055: 'mysql_interrupted',
  1049: 'mysql_not_found',
  1146: 'mysql_changed',
  1412: 'mysql_changed',
  1356: 'mysql_failed',
  1449: 'mysql_failed',
  2002: 'mysql_unreachable',
  2003: 'mysql_unreachable',
  2005: 'mysql_unreachable',
  2026: 'mysql_tls_failed',
  3159: 'mysql_tls_failed',
};

/** In the order in which they are tried: where a message quotes a statement, the number stands behind it. */
const numberPatterns = [/^ERROR (\d{4})\b/mu, /Got error: (\d{4}):/u, /\((\d{4})\)\s*$/mu, /\bError (\d{4}):/u];

/** The first says what is wrong, others what followed from it. */
const maxLines = 4;

/** What a statement says that asks for a right which the account lacks; the number is not always there. */
const codeByText: readonly (readonly [RegExp, ErrorCode])[] = [
  [/insufficient privileges|insufficent privileges|Access denied; you need/u, 'mysql_denied'],
  [/\bSSL\b|\bTLS\b|certificate/u, 'mysql_tls_failed'],
  [/Lost connection|server has gone away/u, 'mysql_interrupted'],
];

/** Of what the program said only its own words: a client repeats the statement that failed, with all rows in it. */
function ownLines(complaint: string): string {
  const lines = complaint.split('\n').filter((line) => /^(?:ERROR \d{4} |\S*(?:mariadb|mysql)\S*: )/u.test(line));
  return lines.length === 0 ? 'no word of why' : lines.slice(0, maxLines).join('; ');
}

/** How a program ended, and what it said last. No complaint of these programs holds a password. */
export function programError(
  program: string,
  place: string,
  { code, complaint }: { code: number | null; complaint: string },
): HoldfastError {
  const number = numberPatterns.map((pattern) => pattern.exec(complaint)?.[1]).find((found) => found !== undefined);
  const byText = codeByText.find(([pattern]) => pattern.test(complaint))?.[1];
  const found = (number === undefined ? undefined : codeByNumber[Number(number)]) ?? byText ?? 'mysql_failed';
  // Loss of the connection while it is made means that nobody is there, or somebody who speaks another language.
  const isGreeting = found === 'mysql_interrupted' && /reading initial communication|handshake/u.test(complaint);
  const said = ownLines(complaint);
  return new HoldfastError(isGreeting ? 'mysql_unreachable' : found, `${program} at ${place} ended with ${String(code)}: ${said}`);
}
