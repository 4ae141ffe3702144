import { isHoldfastError } from '@holdfast/errors/holdfast-error';
import { describe, expect, it } from 'vitest';
import { passivePort } from './ftp-data-socket.ts';
import { dateOfLine, parseListing, parseOneFact } from './ftp-entry.ts';

const now = new Date('2026-11-26T10:00:00Z');

describe('listings', () => {
  it('reads facts', () => {
    const text = [
      'type=cdir;sizd=4096;modify=20261126101500; .',
      'type=file;size=3000000000;modify=20261126101501;UNIX.mode=0644;unique=1g2; abc',
      'type=dir;sizd=4096;modify=20261126101500; ab',
      'type=OS.unix=symlink;size=3;modify=20261126101500; link',
    ].join('\r\n');
    expect(parseListing(`${text}\r\n`, now)).toEqual([
      { name: 'abc', kind: 'file', sizeBytes: 3_000_000_000, modifiedAt: new Date('2026-11-26T10:15:01Z') },
      expect.objectContaining({ name: 'ab', kind: 'folder' }),
      expect.objectContaining({ name: 'link', kind: 'link' }),
    ]);
  });

  it('reads lines for people', () => {
    const text = [
      'drwx------    2 1        1            4096 Nov 26 09:15 ab',
      '-rw-------    1 1        1      3000000000 Nov 26 09:15 abc',
      'lrwxrwxrwx    1 1        1               3 Nov 26 09:15 link -> abc',
    ].join('\r\n');
    expect(parseListing(text, now).map(({ name, kind }) => [name, kind])).toEqual([
      ['ab', 'folder'],
      ['abc', 'file'],
      ['link', 'link'],
    ]);
    expect(parseListing(text, now)[1]).toMatchObject({ sizeBytes: 3_000_000_000, modifiedAt: new Date('2026-11-26T09:15:00Z') });
    expect(parseListing('', now)).toEqual([]);
  });

  it('refuses what it cannot read', () => {
    expect(() => parseListing('what is this\r\n', now)).toThrow(
      expect.toSatisfy((error: unknown) => isHoldfastError(error, 'storage_denied')),
    );
  });

  it('reads the facts of one file', () => {
    const message = '250-Begin\n type=file;size=5;modify=20261126101500; /a b/c; d\n250 End.';
    expect(parseOneFact(message)).toMatchObject({ kind: 'file', sizeBytes: 5, modifiedAt: new Date('2026-11-26T10:15:00Z') });
    expect(parseOneFact('250 nothing')).toBeUndefined();
  });

  it.each([
    ['Nov 26 09:15', '2026-11-26T09:15:00Z'],
    // A clock east of ours.
    ['Nov 26 23:59', '2026-11-26T23:59:00Z'],
    ['Nov 28 09:15', '2025-11-28T09:15:00Z'],
    ['Jan  2 00:00', '2026-01-02T00:00:00Z'],
    ['Mar 12  2024', '2024-03-12T00:00:00Z'],
    ['2026-11-26 09:15', '2026-11-26T09:15:00Z'],
    ['11-26-26  09:15PM', '2026-11-26T21:15:00Z'],
    ['11-26-2026  12:15AM', '2026-11-26T00:15:00Z'],
    ['26 Okt 09:15', '1970-01-01T00:00:00Z'],
    ['Okt 26 09:15', '1970-01-01T00:00:00Z'],
  ])('reads the date %j', (text, date) => {
    expect(dateOfLine(text, now)).toEqual(new Date(date));
  });

  it('reads a date over New Year', () => {
    expect(dateOfLine('Dec 31 23:59', new Date('2027-01-01T00:01:00Z'))).toEqual(new Date('2026-12-31T23:59:00Z'));
    expect(dateOfLine('Jan  1 08:00', new Date('2026-12-31T23:59:00Z'))).toEqual(new Date('2027-01-01T08:00:00Z'));
  });
});

describe('the port of a data connection', () => {
  it.each([
    ['229 Entering Extended Passive Mode (|||6446|)', 6446],
    ['229 Entering Extended Passive Mode (!!!6446!)', 6446],
    ['229 Entering Extended Passive Mode (|||0|)', undefined],
    ['229 Entering Extended Passive Mode (|||70000|)', undefined],
    ['227 Entering Passive Mode (192,168,1,100,10,229).', 2789],
    ['227 Entering Passive Mode. 10,0,0,1,10,229', 2789],
    ['227 Entering Passive Mode (1,2,3,4)', undefined],
    ['229 no port', undefined],
  ])('%j is %s', (message, port) => {
    expect(passivePort(message)).toBe(port);
  });
});
