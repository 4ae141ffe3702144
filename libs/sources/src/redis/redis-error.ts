import { errnoCode } from '@holdfast/errors/errno-code';
import type { ErrorCode } from '@holdfast/errors/error-codes';
import { HoldfastError } from '@holdfast/errors/holdfast-error';

/** The door at which errors of Redis servers and of the way to them become ours. What a server says begins with a word that stays the same. */
const codeByWord: Readonly<Record<string, ErrorCode>> = {
  WRONGPASS: 'redis_login_failed',
  NOAUTH: 'redis_login_failed',
  NOPERM: 'redis_denied',
  DENIED: 'redis_denied',
  LOADING: 'redis_busy',
  BUSY: 'redis_busy',
  NOMASTERLINK: 'redis_busy',
  MASTERDOWN: 'redis_busy',
  OOM: 'redis_busy',
  MISCONF: 'redis_busy',
  READONLY: 'redis_denied',
};

/** By more than the first word, which is only ERR. */
const codeByText: readonly (readonly [RegExp, ErrorCode])[] = [
  [/invalid password|AUTH <password> called without any password|without any password configured/u, 'redis_login_failed'],
  [/unknown command/u, 'redis_denied'],
  [/BGSAVE failed|Background save|Can't save in background|fork/u, 'redis_busy'],
];

/** What the server answered: `WRONGPASS invalid username-password pair`. No answer of a server holds a password. */
export function replyError(reply: string, place: string, command: string): HoldfastError {
  const word = reply.split(' ', 1)[0] ?? '';
  const code = codeByWord[word] ?? codeByText.find(([pattern]) => pattern.test(reply))?.[1] ?? 'redis_failed';
  return new HoldfastError(code, `${place} answered ${command} with: ${reply}`);
}

const certificateCode = /CERT|SELF_SIGNED|UNABLE_TO|ERR_TLS|ERR_SSL|CRL|ISSUER|CHAIN|EPROTO/u;

/** Translates an error of the way to the server; one of ours goes through as it is. */
export function connectionError(error: unknown, place: string, isOpen: boolean): HoldfastError {
  if (error instanceof HoldfastError) return error;
  const code = errnoCode(error);
  const message = error instanceof Error ? error.message || (code ?? error.name) : String(error);
  if (code !== undefined && certificateCode.test(code)) {
    return new HoldfastError('redis_tls_failed', `${place}: ${message}`, { cause: error });
  }
  return new HoldfastError(isOpen ? 'redis_interrupted' : 'redis_unreachable', `${place}: ${message}`, { cause: error });
}
