import { connect } from 'node:net';
import ssh2, { type AnyAuthMethod, type AuthenticationType, type ParsedKey, type SFTPWrapper } from 'ssh2';
import { gatherWrites } from './gathered-writes.ts';
import { SftpConnection } from './sftp-connection.ts';
import { acceptedFingerprints, fingerprintOf, hostKeyAlgorithms } from './sftp-host-key.ts';
import { badPrivateKey, noSftpSession, sftpLoginError } from './sftp-login-error.ts';
import { sftpAddress, type SftpCredentials, type SftpOptions } from './sftp-options.ts';
import { SftpSession } from './sftp-session.ts';

/** Everything that a connection needs, worked out once: a key with a passphrase costs a second of hashing. */
export interface SftpLogin {
  readonly host: string;
  readonly port: number;
  readonly user: string;
  readonly hostKeys: readonly string[];
  readonly proof: { readonly password: string } | { readonly key: ParsedKey };
}

/** From the first byte to the open session, however much moves meanwhile: what a server that is asked for names (DNS) and users takes. */
const loginLimitMs = 60_000;

/** Error: storage_denied for a private key that cannot be used. */
export function sftpLogin(options: SftpOptions, credentials: SftpCredentials): SftpLogin {
  const hostKeys = typeof options.hostKey === 'string' ? [options.hostKey] : options.hostKey;
  const proof = 'password' in credentials ? credentials : { key: parseKey(credentials.privateKey, credentials.passphrase) };
  return { ...sftpAddress(options), user: options.user, hostKeys, proof };
}

/**
 * Connects, compares the server's key, logs in and opens an SFTP channel: one a connection, because the channel's window of 2 MiB limits
 * what is on its way. Errors: storage_denied (strange host key, refused login, no SFTP), storage_unreachable.
 */
export async function openSftpSession(login: SftpLogin, idleTimeoutMs: number): Promise<SftpSession> {
  const { host, port, user, hostKeys, proof } = login;
  const state = { strangeFingerprint: undefined as string | undefined, loginMethods: [] as readonly string[], isReady: false };
  const socket = connect({ host, port, noDelay: true });
  gatherWrites(socket);
  const client = new ssh2.Client();
  const connection = new SftpConnection(socket, client, idleTimeoutMs, (error) => sftpLoginError(error, state));
  const accepted = acceptedFingerprints(hostKeys);
  client.on('change password', () => connection.lose(sftpLoginError(passwordExpired(), state)));
  await connection.wait<void>((answer) => {
    client.once('ready', () => answer(undefined, undefined));
    client.connect({
      sock: socket,
      username: user,
      algorithms: { serverHostKey: hostKeyAlgorithms(hostKeys) },
      hostVerifier: (key: Buffer) => {
        const fingerprint = fingerprintOf(key);
        const isKnown = accepted.has(fingerprint);
        if (!isKnown) state.strangeFingerprint = fingerprint;
        return isKnown;
      },
      authHandler: proofs(login.user, proof, (methods) => (state.loginMethods = methods)),
      readyTimeout: loginLimitMs,
      // The line is watched by the connection itself.
      keepaliveInterval: 0,
    });
  });
  const sftp = await openChannel(connection, client);
  state.isReady = true;
  const lost = (): void => connection.lose(sftpLoginError(new Error('the server closed the SFTP session'), state));
  sftp.on('close', lost);
  sftp.on('error', (error: unknown) => connection.lose(sftpLoginError(error, state)));
  return new SftpSession(connection, sftp);
}

async function openChannel(connection: SftpConnection, client: ssh2.Client): Promise<SFTPWrapper> {
  try {
    return await connection.wait<SFTPWrapper>((answer) => client.sftp(answer));
  } catch (error) {
    // Lost, and with a better reason than the channel has.
    if (connection.isLost) throw error;
    const refusal = noSftpSession(error);
    connection.lose(refusal);
    throw refusal;
  }
}

/**
 * What to prove ourselves with, one after the other. A password goes as an answer to the server's own question only where the server takes
 * no password as such: one that it has refused is not tried twice, since servers lock out who fails too often.
 */
function proofs(username: string, proof: SftpLogin['proof'], onMethods: (methods: readonly string[]) => void) {
  let tryCount = 0;
  return (methodsLeft: AuthenticationType[] | null): AnyAuthMethod | false => {
    tryCount += 1;
    onMethods(methodsLeft ?? []);
    if (tryCount === 1) {
      return 'key' in proof ? { type: 'publickey', username, key: proof.key } : { type: 'password', username, password: proof.password };
    }
    const asksQuestions = methodsLeft?.includes('keyboard-interactive') === true && !methodsLeft.includes('password');
    if (tryCount > 2 || 'key' in proof || !asksQuestions) return false;
    return {
      type: 'keyboard-interactive',
      username,
      prompt: (_name, _instructions, _language, prompts, finish) => finish(prompts.map(() => proof.password)),
    };
  };
}

function parseKey(privateKey: string, passphrase: string | undefined): ParsedKey {
  const parsed: unknown = ssh2.utils.parseKey(privateKey, passphrase);
  const key: unknown = Array.isArray(parsed) ? parsed[0] : parsed;
  if (key instanceof Error) throw badPrivateKey(key.message);
  if (!isPrivateKey(key)) throw badPrivateKey('it is no private key');
  return key;
}

function isPrivateKey(key: unknown): key is ParsedKey {
  if (typeof key !== 'object' || key === null || !('isPrivateKey' in key) || typeof key.isPrivateKey !== 'function') return false;
  return key.isPrivateKey() === true;
}

function passwordExpired(): Error {
  return Object.assign(new Error('the password has expired and must be changed at the server'), { level: 'client-authentication' });
}
