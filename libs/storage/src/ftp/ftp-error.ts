import type { ErrorCode } from '@holdfast/errors/error-codes';
import { errnoCode } from '@holdfast/errors/errno-code';
import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { FTPError } from 'basic-ftp';

/**
 * What a server's reply or a broken connection means for a storage. A reply is three digits and words (RFC 959, 4.2): `452 No space`.
 * The digits alone say too little: 550 is both "not there" and "not allowed", and vsftpd and Pure-FTPd say 451 for a full disk. Errors made here hold
 * the reply and nothing of what was sent.
 */
const codes: Readonly<Record<number, ErrorCode>> = {
  // The server shuts down, cannot connect, was cut off, or has the file in use: it passes.
  421: 'storage_unreachable',
  425: 'storage_unreachable',
  426: 'storage_unreachable',
  450: 'storage_unreachable',
  452: 'storage_full',
  552: 'storage_full',
  // Wrong password, whatever the first digit says of trying again.
  430: 'storage_denied',
};

const fullPattern =
  /quota|no space|disk(?: is)? full|insufficient (?:storage|space)|not enough (?:disk )?space|writing to local file|during write to file/iu;
const missingPattern = /no such (?:file|directory|folder)|not found|(?:does not|doesn'?t) exist|cannot find/iu;
const deniedPattern = /denied|not permitted|forbidden|prohibited|not allowed|read-only/iu;
const crowdedPattern = /too many|maximum (?:number|login|clients)|max(?:imum)? (?:\w+ )?(?:clients|connections)|try again later/iu;
/** Names that OpenSSL and Node give to certificates that do not verify, and to a server that does not speak TLS as we do. */
const certificatePattern = /CERT|ISSUER|SIGNATURE|SELF_SIGNED|HOSTNAME_MISMATCH|INVALID_CA|INVALID_PURPOSE|CRL_/u;
const noTlsPattern =
  /WRONG_VERSION|PACKET_LENGTH|UNSUPPORTED_PROTOCOL|HANDSHAKE_FAILURE|PROTOCOL_VERSION|NO_PROTOCOLS|VERSION_TOO_LOW|NO_SHARED/u;

const maxToldLength = 300;
// oxlint-disable-next-line no-control-regex -- what a server says goes into one line of a log
const controlCharacters = /[\0-\x1f\x7f]+/gu;

/** What the server said, in one line of bearable length. */
function wordsOfReply(error: FTPError): string {
  return error.message.replace(controlCharacters, ' ').slice(0, maxToldLength);
}

/** A file's path in a reply must not be read as the server's words. */
function withoutPaths(message: string): string {
  return message.replace(/\S*\/\S*/gu, '');
}

/** Whether the server says in words that a file or folder is not there, or that it may not be touched; undefined when neither. */
export function meaningOfRefusal(error: FTPError): 'missing' | 'denied' | undefined {
  const message = withoutPaths(error.message);
  if (missingPattern.test(message)) return 'missing';
  return deniedPattern.test(message) ? 'denied' : undefined;
}

/** Whether the server refuses a connection because it has as many as it takes. */
export function isCrowded(error: unknown): boolean {
  return error instanceof FTPError && (error.code === 421 || error.code === 530) && crowdedPattern.test(error.message);
}

/** What a reply means where nothing more is known. */
export function codeOfReply(reply: { readonly code: number; readonly message: string }): ErrorCode {
  if (fullPattern.test(withoutPaths(reply.message))) return 'storage_full';
  if (reply.code === 530 && crowdedPattern.test(reply.message)) return 'storage_unreachable';
  // vsftpd says so with 500 when one of its own processes was ended.
  if (/child died/iu.test(reply.message)) return 'storage_unreachable';
  return codes[reply.code] ?? (reply.code >= 500 ? 'storage_denied' : 'storage_unreachable');
}

/** Translates what a call on `what` ended with; errors of ours go through as they are. */
export function ftpError(error: unknown, what: string, location: string): HoldfastError {
  if (error instanceof HoldfastError) return error;
  if (error instanceof FTPError) {
    const context = { object: what, location, reply: error.code };
    // vsftpd says 500 OOPS to what is wrong with its own settings.
    const isUnknown = error.code >= 500 && error.code <= 504 && !/oops/iu.test(error.message);
    const hint = isUnknown ? { hint: 'the server does not know a command that is needed; see the page of FTP storages for which' } : {};
    return new HoldfastError(codeOfReply(error), `${what} at ${location}: ${wordsOfReply(error)}`, { context, ...hint });
  }
  const errno = errnoCode(error);
  if (errno !== undefined && certificatePattern.test(errno)) {
    const hint = 'check the certificate of the server, the name in host, and the caCertificate that is given';
    const context = { object: what, location, errno };
    return new HoldfastError('storage_denied', `${what} at ${location}: the server's certificate: ${errno}`, { context, hint });
  }
  if (errno !== undefined && noTlsPattern.test(errno)) {
    const hint = 'check tls and port: the server does not speak TLS there, or only an old one';
    return new HoldfastError('storage_denied', `${what} at ${location}: no TLS: ${errno}`, {
      context: { object: what, location, errno },
      hint,
    });
  }
  // Words of the library or of Node about a connection; they name addresses and ports, no secret.
  const told = error instanceof Error ? error.message.replace(controlCharacters, ' ').slice(0, maxToldLength) : 'the connection broke';
  const context = { object: what, location, ...(errno === undefined ? {} : { errno }) };
  return new HoldfastError('storage_unreachable', `${what} at ${location}: ${told}`, { context });
}
