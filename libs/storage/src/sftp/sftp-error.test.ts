import { isHoldfastError, HoldfastError } from '@holdfast/errors/holdfast-error';
import { describe, expect, it } from 'vitest';
import { sftpError, statusOf } from './sftp-error.ts';
import { badPrivateKey, noSftpSession, sftpLoginError, type LoginState } from './sftp-login-error.ts';

const location = 'sftp:holdfast@backup.example.com:22/a';
const fresh: LoginState = { strangeFingerprint: undefined, loginMethods: [], isReady: false };
const errorWith = (message: string, fields: Record<string, unknown>): Error => Object.assign(new Error(message), fields);

describe('answers to requests', () => {
  it.each([
    [1, 'End of file', 'storage_object_too_short'],
    [2, 'No such file', 'storage_object_missing'],
    [3, 'Permission denied', 'storage_denied'],
    [4, 'Failure', 'storage_unreachable'],
    [4, 'write: No space left on device', 'storage_full'],
    [4, 'Disk quota exceeded', 'storage_full'],
    [4, 'Read-only file system', 'storage_denied'],
    [5, 'Bad message', 'storage_denied'],
    [6, 'No connection', 'storage_unreachable'],
    [7, 'Connection lost', 'storage_unreachable'],
    [8, 'Operation unsupported', 'storage_denied'],
    [11, 'File already exists', 'storage_object_exists'],
    [14, 'No space on filesystem', 'storage_full'],
    [15, 'Quota exceeded', 'storage_full'],
    [99, 'Something', 'storage_unreachable'],
  ])('of status %i, %s, mean %s', (status, message, code) => {
    const error = errorWith(message, { code: status });
    expect(statusOf(error)).toBe(status);
    expect(sftpError(error, 'keys/a', location)).toMatchObject({
      code,
      message: `keys/a at ${location}: ${message} (SFTP status ${String(status)})`,
      context: { object: 'keys/a', location, status },
    });
  });

  it('keep to one line of a sane length, whatever the server says', () => {
    const translated = sftpError(errorWith(`a\r\n\u001b[31m${'b'.repeat(10_000)}`, { code: 4 }), 'config', location);
    const { message } = translated as Error;
    expect(message.length).toBeLessThan(400);
    for (const odd of ['\n', '\r', '\u001b']) expect(message).not.toContain(odd);
  });

  it('are given the object of the call that met a lost connection, once', () => {
    const lost = new HoldfastError('storage_unreachable', 'the line is dead', { context: { idleTimeoutMs: 3 } });
    const translated = sftpError(lost, 'keys/a', location);
    expect(translated).toMatchObject({ code: 'storage_unreachable', context: { object: 'keys/a', location, idleTimeoutMs: 3 } });
    expect(sftpError(translated, 'keys/b', location)).toBe(translated);
  });

  it('leave alone what is no answer', () => {
    const aborted = new Error('stop');
    expect(sftpError(aborted, 'keys/a', location)).toBe(aborted);
    expect(statusOf(errorWith('reset', { code: 'ECONNRESET' }))).toBeUndefined();
  });
});

describe('connections', () => {
  it.each<[string, Record<string, unknown>, Partial<LoginState>, string]>([
    ['connect ECONNREFUSED', { level: 'client-socket', code: 'ECONNREFUSED' }, {}, 'storage_unreachable'],
    ['getaddrinfo ENOTFOUND', { level: 'client-socket', code: 'ENOTFOUND' }, {}, 'storage_unreachable'],
    ['Timed out while waiting for handshake', { level: 'client-timeout' }, {}, 'storage_unreachable'],
    ['Connection lost before handshake', { level: 'protocol' }, {}, 'storage_unreachable'],
    ['All configured authentication methods failed', { level: 'client-authentication' }, {}, 'storage_denied'],
    ['Host denied (verification failed)', { level: 'handshake' }, { strangeFingerprint: 'SHA256:abc' }, 'storage_denied'],
    ['Handshake failed: no matching host key format', { level: 'handshake' }, {}, 'storage_denied'],
    ['Handshake failed: signature verification failed', { level: 'handshake' }, {}, 'storage_unreachable'],
    ['Packet length 1416 exceeds max length', { level: 'sftp-protocol' }, {}, 'storage_denied'],
    ['Packet length 1416 exceeds max length', { level: 'sftp-protocol' }, { isReady: true }, 'storage_unreachable'],
    ['Too many authentication failures', { code: 2 }, {}, 'storage_denied'],
    ['User from that address not allowed', { code: 2 }, {}, 'storage_denied'],
    ['Too many connections', { code: 12 }, {}, 'storage_unreachable'],
    ['ILLEGAL_USER_NAME', { code: 15 }, {}, 'storage_denied'],
    ['Timeout, client not responding', { code: 2 }, { isReady: true }, 'storage_unreachable'],
  ])('that end by %s %j %j are %s', (message, fields, state, code) => {
    expect(sftpLoginError(errorWith(message, fields), { ...fresh, ...state })).toMatchObject({ code });
  });

  it('tell what the server takes, and which key it showed', () => {
    const refused = errorWith('All configured authentication methods failed', { level: 'client-authentication' });
    expect(sftpLoginError(refused, { ...fresh, loginMethods: ['publickey', 'password'] }).message).toContain(
      'it takes publickey, password',
    );
    const strange = sftpLoginError(new Error('x'), { ...fresh, strangeFingerprint: 'SHA256:abc' });
    expect(strange).toMatchObject({ message: expect.stringContaining('SHA256:abc'), context: { fingerprint: 'SHA256:abc' } });
  });

  it('without a session are refused for good, unless the server only lacks room for it or was stopped', () => {
    const codeOf = (message: string, fields = {}): string => noSftpSession(errorWith(message, fields)).code;
    expect(codeOf('Unable to start subsystem: sftp')).toBe('storage_denied');
    expect(codeOf('Received exit code 1 while establishing SFTP session', { code: 1 })).toBe('storage_denied');
    expect(codeOf('(SSH) Channel open failure: open failed', { reason: 1 })).toBe('storage_denied');
    expect(codeOf('(SSH) Channel open failure: no room', { reason: 4 })).toBe('storage_unreachable');
    expect(codeOf('Received signal SIGTERM while establishing SFTP session')).toBe('storage_unreachable');
  });

  it('with a private key that is no use say what to do', () => {
    expect(badPrivateKey('Encrypted private OpenSSH key detected, but no passphrase given').hint).toContain('passphrase');
    expect(badPrivateKey('Unsupported key format').hint).toContain('ssh-keygen');
    expect(isHoldfastError(badPrivateKey('x'), 'storage_denied')).toBe(true);
  });
});
