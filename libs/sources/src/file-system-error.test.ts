import { describe, expect, it } from 'vitest';
import { readingError, writingError } from './file-system-error.ts';

const systemError = (code: string): Error => Object.assign(new Error(code), { code });

describe('an error of a file system', () => {
  it.each([
    ['ENOENT', 'path_not_found', 'never'],
    ['ELOOP', 'path_not_found', 'never'],
    ['EACCES', 'path_not_readable', 'never'],
    ['EPERM', 'path_not_readable', 'never'],
    ['EIO', 'path_not_readable', 'later'],
    ['ESTALE', 'path_not_readable', 'later'],
    ['EMFILE', 'internal', 'later'],
  ])('%s on reading is %s, tried again: %s', (errno, code, retry) => {
    const error = readingError(systemError(errno), '/srv/data');
    expect(error).toMatchObject({ code, retry, context: { path: '/srv/data', errno } });
    expect(String(error)).toContain(errno);
  });

  it.each([
    ['ENOSPC', 'disk_full', 'later'],
    ['EDQUOT', 'disk_full', 'later'],
    ['EACCES', 'target_not_writable', 'never'],
    ['EROFS', 'target_not_writable', 'never'],
    ['EIO', 'target_not_writable', 'later'],
    ['ENFILE', 'internal', 'later'],
  ])('%s on writing is %s, tried again: %s', (errno, code, retry) => {
    expect(writingError(systemError(errno), '/srv/restored')).toMatchObject({ code, retry });
  });

  it('that is ours, or no error of the system, goes through', () => {
    const known = readingError(systemError('EIO'), '/a');
    expect(readingError(known, '/b')).toBe(known);
    const other = new TypeError('a defect');
    expect(readingError(other, '/a')).toBe(other);
  });
});
