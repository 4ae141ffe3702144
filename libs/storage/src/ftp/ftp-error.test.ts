import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { FTPError } from 'basic-ftp';
import { describe, expect, it } from 'vitest';
import { codeOfReply, ftpError, isCrowded, meaningOfRefusal } from './ftp-error.ts';

const reply = (message: string): FTPError => new FTPError({ code: Number(message.slice(0, 3)), message });

describe('replies of FTP servers', () => {
  it.each([
    ['421 Timeout.', 'storage_unreachable'],
    ['421 There are too many connections from your internet address.', 'storage_unreachable'],
    ['425 Failed to establish connection.', 'storage_unreachable'],
    ['426 Failure writing network stream.', 'storage_unreachable'],
    ['450 File busy.', 'storage_unreachable'],
    ['451 Requested action aborted. Local error.', 'storage_unreachable'],
    ['451 Failure writing to local file.', 'storage_full'],
    ['451-Error during write to file\n451-Transfer aborted\n451 0.000 seconds', 'storage_full'],
    ['452 Insufficient storage.', 'storage_full'],
    ["552 Quota exceeded: [abc] won't be saved", 'storage_full'],
    ['550 No space left on device', 'storage_full'],
    ['553 Disk full', 'storage_full'],
    ['430 Invalid user name or password', 'storage_denied'],
    ['530 Login incorrect.', 'storage_denied'],
    ['530 Sorry, the maximum number of clients (3) for this user are already connected.', 'storage_unreachable'],
    ['550 Permission denied.', 'storage_denied'],
    ['550 /quota/full disk/abc: Permission denied', 'storage_denied'],
    ['553 Could not create file.', 'storage_denied'],
    ['502 Command not implemented.', 'storage_denied'],
    ['534 Policy requires SSL.', 'storage_denied'],
    ['500 OOPS: child died', 'storage_unreachable'],
    ['500 OOPS: vsftpd: refusing to run with writable root inside chroot()', 'storage_denied'],
  ])('%j is %s', (message, code) => {
    expect(codeOfReply(reply(message))).toBe(code);
    expect(ftpError(reply(message), 'keys/a', 'ftp:a@b:21/c')).toMatchObject({
      code,
      context: { object: 'keys/a', reply: Number(message.slice(0, 3)) },
    });
  });

  it.each([
    ["550 Can't open abc: No such file or directory", 'missing'],
    ['550 The system cannot find the file specified.', 'missing'],
    ['550 abc: Permission denied', 'denied'],
    ['550 Failed to open file.', undefined],
    ["550 Can't change directory to /nosuchfile/denied: Not a directory", undefined],
  ])('%j means %s', (message, meaning) => {
    expect(meaningOfRefusal(reply(message))).toBe(meaning);
  });

  it('knows a server that has enough sessions', () => {
    expect(isCrowded(reply('421 Too many connections (2) from this IP'))).toBe(true);
    expect(isCrowded(reply('421 Timeout.'))).toBe(false);
    expect(isCrowded(new Error('421 Too many connections'))).toBe(false);
  });
});

describe('errors of connections', () => {
  it.each([
    ['ECONNRESET', 'storage_unreachable'],
    ['ECONNREFUSED', 'storage_unreachable'],
    ['ENOTFOUND', 'storage_unreachable'],
    ['ERR_TLS_CERT_ALTNAME_INVALID', 'storage_denied'],
    ['DEPTH_ZERO_SELF_SIGNED_CERT', 'storage_denied'],
    ['UNABLE_TO_VERIFY_LEAF_SIGNATURE', 'storage_denied'],
    ['UNABLE_TO_GET_ISSUER_CERT_LOCALLY', 'storage_denied'],
    ['CERT_HAS_EXPIRED', 'storage_denied'],
    ['ERR_SSL_WRONG_VERSION_NUMBER', 'storage_denied'],
    ['ERR_SSL_DECRYPTION_FAILED_OR_BAD_RECORD_MAC', 'storage_unreachable'],
  ])('%s is %s', (errno, code) => {
    const error = Object.assign(new Error('something happened'), { code: errno });
    expect(ftpError(error, 'keys/a', 'ftp:a@b:21/c')).toMatchObject({ code, context: { errno } });
  });

  it('keeps errors of ours, and nothing of others but their words in one line', () => {
    const ours = new HoldfastError('storage_object_missing', 'not there');
    expect(ftpError(ours, 'a', 'b')).toBe(ours);
    const translated = ftpError(Object.assign(new Error('line\r\nend'), { password: 'secret' }), 'a', 'b');
    expect(translated.message).toBe('a at b: line end');
    expect(translated.cause).toBeUndefined();
  });
});
