import type { ErrorCode } from '@holdfast/errors/error-codes';
import { errnoCode } from '@holdfast/errors/errno-code';
import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { quoted } from './sftp-error.ts';

/** What is known of a connection when it fails. */
export interface LoginState {
  /** The server's key, once it has shown it and it is none of those expected. */
  readonly strangeFingerprint: string | undefined;
  /** What the server lets users prove themselves by, once it has said so. */
  readonly loginMethods: readonly string[];
  /** Whether the session is open, so that nothing of the login can be wrong any more. */
  readonly isReady: boolean;
}

/** Reasons of a server that ends the connection (RFC 4253, 11.1) for which somebody must mend something. */
const codesOfReasons: Readonly<Record<number, ErrorCode>> = {
  // Host not allowed to connect.
  1: 'storage_denied',
  // Host key not verifiable.
  9: 'storage_denied',
  // No more authentication methods available; illegal user name.
  14: 'storage_denied',
  15: 'storage_denied',
};
/** OpenSSH gives these words with the reason of a protocol error. */
const refusals = /too many authentication failures|not allowed|access denied/iu;
const noCommonAlgorithm = /no matching/iu;

/**
 * Translates what ended a connection, or kept it from being opened. The library marks its errors by `level`; an error without one is the
 * server's own word of parting, its reason in `code`. None of them holds a credential.
 */
export function sftpLoginError(error: unknown, state: LoginState): HoldfastError {
  if (error instanceof HoldfastError) return error;
  const said = quoted(error);
  const level = error instanceof Error && 'level' in error ? error.level : undefined;
  if (state.strangeFingerprint !== undefined) return strangeServer(state.strangeFingerprint);
  if (state.isReady) return unreachable(`the connection was lost: ${said}`, error);
  if (level === 'client-authentication') return loginRefused(state.loginMethods);
  if (level === 'handshake' && noCommonAlgorithm.test(said)) {
    return new HoldfastError('storage_denied', `server and client do not agree on an algorithm: ${said}`, {
      hint: 'give the host key of a type that the server has, and let it offer algorithms of this decade',
      context: { level },
    });
  }
  if (level === 'sftp-protocol') {
    return new HoldfastError('storage_denied', `what answers is no SFTP server: ${said}`, {
      hint: 'let the account have SFTP, and keep its shell from printing anything when it starts',
      context: { level },
    });
  }
  const reason =
    level === undefined && error instanceof Error && 'code' in error && typeof error.code === 'number' ? error.code : undefined;
  const code = reason === undefined ? undefined : refusals.test(said) ? 'storage_denied' : codesOfReasons[reason];
  if (code !== undefined) return new HoldfastError(code, `the server refused the connection: ${said}`, { context: { reason } });
  return unreachable(`no connection: ${said}`, error);
}

/** The server let us in and then gave no SFTP session. */
export function noSftpSession(error: unknown): HoldfastError {
  const passes = error instanceof Error && (isShortage(error) || wasEnded(error));
  if (passes) return unreachable(`no SFTP session: ${quoted(error)}`, error);
  return new HoldfastError('storage_denied', `the server gives this account no SFTP session: ${quoted(error)}`, {
    hint: 'let the server have an sftp subsystem (`Subsystem sftp internal-sftp`), and this account use it',
  });
}

/** RFC 4254, 5.1: too few resources for another channel. */
function isShortage(error: Error): boolean {
  return 'reason' in error && (error.reason === 4 || error.reason === 'RESOURCE_SHORTAGE');
}

/** The server's process was ended from outside, as when the server stops; one that cannot begin ends with an exit code. */
function wasEnded(error: Error): boolean {
  return /received signal|unexpected sftp session termination/iu.test(error.message);
}

/** Words for a private key that cannot be used; the key is not among them. */
export function badPrivateKey(said: string): HoldfastError {
  const isLocked = /encrypted|passphrase|integrity|decrypt/iu.test(said);
  return new HoldfastError('storage_denied', `the private key cannot be used: ${said}`, {
    hint: isLocked
      ? 'give the passphrase that the key was made with'
      : 'give a private key as ssh-keygen writes it (`-----BEGIN OPENSSH PRIVATE KEY-----`), whole and with its line ends',
  });
}

function strangeServer(fingerprint: string): HoldfastError {
  return new HoldfastError('storage_denied', `the server has another host key than expected: ${fingerprint}`, {
    hint: 'ask whoever runs the server whether this is its key; only then give it as hostKey',
    context: { fingerprint },
  });
}

function loginRefused(loginMethods: readonly string[]): HoldfastError {
  const takes = loginMethods.length === 0 ? '' : `; it takes ${loginMethods.join(', ')}`;
  return new HoldfastError('storage_denied', `the server does not let this user in with these credentials${takes}`, {
    hint: 'check user and credentials, and that the server has the public key in authorized_keys or takes passwords',
    context: { loginMethods },
  });
}

function unreachable(message: string, cause: unknown): HoldfastError {
  const errno = errnoCode(cause);
  return new HoldfastError('storage_unreachable', message, { context: errno === undefined ? {} : { errno }, cause });
}
