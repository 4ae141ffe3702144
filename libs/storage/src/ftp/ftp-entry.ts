import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { type FileInfo, parseList } from 'basic-ftp';

/**
 * What a server says of a file or folder. With facts (MLSD, RFC 3659) a date is exact and in UTC:
 *
 *     type=file;size=1024;modify=20261126101500; 0a1b…
 *
 * Lines for people (LIST), which have no standard, are without seconds, for older files without the time of the day, and by the clock
 * of the server, whose zone nobody tells:
 *
 *     -rw-------    1 1000     1000         1024 Nov 26 10:15 0a1b…
 */
export interface FtpEntry {
  readonly name: string;
  readonly kind: 'file' | 'folder' | 'link' | 'other';
  readonly sizeBytes: number;
  readonly modifiedAt: Date;
}

/** Clocks east of us are so far ahead at most, and ours may be late. */
const mostAheadMs = 15 * 60 * 60 * 1000;
const months = ['jan', 'feb', 'mar', 'apr', 'may', 'jun', 'jul', 'aug', 'sep', 'oct', 'nov', 'dec'];

/** The entries of a reply to MLSD or LIST. Errors: storage_denied for lines of an unknown kind. */
export function parseListing(text: string, now: Date = new Date()): FtpEntry[] {
  let files: FileInfo[];
  try {
    files = parseList(text);
  } catch {
    throw new HoldfastError('storage_denied', 'the server lists folders in lines of an unknown kind', {
      hint: 'use a server that has MLSD, or lists as Unix does',
    });
  }
  return files.map((file) => entryOf(file, now));
}

/** Of a reply to MLST: its second line is a blank and then one of MLSD, with the whole path for a name. */
export function parseOneFact(message: string): FtpEntry | undefined {
  const line = message.split('\n').find((candidate) => /^\s*[^\s=]+=\S*; /u.test(candidate));
  return line === undefined ? undefined : parseListing(line.trimStart().replace(/ .*$/u, ' one'))[0];
}

function entryOf(file: FileInfo, now: Date): FtpEntry {
  const kind = file.isFile ? 'file' : file.isDirectory ? 'folder' : file.isSymbolicLink ? 'link' : 'other';
  return { name: file.name, kind, sizeBytes: file.size, modifiedAt: file.modifiedAt ?? dateOfLine(file.rawModifiedAt, now) };
}

/**
 * The date in a line of LIST, read as if the server's clock showed UTC, in whole minutes or days; the year 1970 for one that nobody can
 * read. A date without a year is the last one that is not ahead.
 */
export function dateOfLine(text: string, now: Date): Date {
  const recent = /^(\p{L}{3})\s+(\d{1,2})\s+(\d{1,2}):(\d{2})$/u.exec(text);
  if (recent !== null) {
    const inYear = (year: number): number => Date.UTC(year, monthOf(recent[1]), Number(recent[2]), Number(recent[3]), Number(recent[4]));
    const thisYear = now.getUTCFullYear();
    // One more on New Year's Eve.
    const timeMs =
      [thisYear + 1, thisYear].map(inYear).find((candidate) => candidate <= now.getTime() + mostAheadMs) ?? inYear(thisYear - 1);
    return validDate(timeMs);
  }
  const older = /^(\p{L}{3})\s+(\d{1,2})\s+(\d{4})$/u.exec(text);
  if (older !== null) return validDate(Date.UTC(Number(older[3]), monthOf(older[1]), Number(older[2])));
  const numeric = /^(\d{4})-(\d{2})-(\d{2})\s+(\d{2}):(\d{2})/u.exec(text);
  if (numeric !== null) {
    const [year, month, day, hour, minute] = numeric.slice(1).map(Number);
    return validDate(Date.UTC(year ?? NaN, (month ?? NaN) - 1, day, hour, minute));
  }
  const dos = /^(\d{2})-(\d{2})-(\d{2}|\d{4})\s+(\d{1,2}):(\d{2})\s*([AP])?M?$/iu.exec(text);
  if (dos !== null) {
    const [month = NaN, day, year = NaN, hour = NaN, minute] = dos.slice(1, 6).map(Number);
    const hours = dos[6] === undefined ? hour : (hour % 12) + (dos[6].toUpperCase() === 'P' ? 12 : 0);
    return validDate(Date.UTC(year < 100 ? 2000 + year : year, month - 1, day, hours, minute));
  }
  return new Date(0);
}

function monthOf(name: string | undefined): number {
  const month = months.indexOf((name ?? '').toLowerCase());
  return month === -1 ? NaN : month;
}

function validDate(timeMs: number): Date {
  return new Date(Number.isNaN(timeMs) ? 0 : timeMs);
}
