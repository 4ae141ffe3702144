import { createHmac, hkdfSync, timingSafeEqual } from 'node:crypto';

/**
 * How the API proves to a worker that a browse request is its own:
 *
 *     authorization: HOLDFAST-HMAC-SHA256 <expires, milliseconds since 1970>.<base64url of HMAC-SHA256>
 *
 * over method, path with query, and expiry, a line each, below the name of the scheme. The key is derived from the master key by HKDF, so
 * that what leaks of the one tells nothing of the other. Nothing in the URL is a secret, and a signature that somebody wrote down is of no use
 * after a minute, nor for any other request.
 */
const scheme = 'HOLDFAST-HMAC-SHA256';
const keyInfo = 'holdfast browse requests v1';
const keyBytes = 32;
/** Long enough for a worker that is slow to take the connection; short enough to be of no use in a log. */
export const signatureLifetimeMs = 60_000;
/** By so much the clocks of two machines may differ. */
const clockSkewMs = 30_000;

export interface SignedRequest {
  readonly method: string;
  /** Path and query as they go over the wire. */
  readonly target: string;
}

export interface BrowseKey {
  readonly bytes: Uint8Array;
}

/** `masterKey`: 32 bytes. */
export function deriveBrowseKey(masterKey: Uint8Array): BrowseKey {
  return { bytes: new Uint8Array(hkdfSync('sha256', masterKey, '', keyInfo, keyBytes)) };
}

/** The value of the authorization header, good from now on for a minute. */
export function signRequest(key: BrowseKey, request: SignedRequest, now: Date): string {
  const expires = now.getTime() + signatureLifetimeMs;
  return `${scheme} ${expires}.${macOf(key, request, expires).toString('base64url')}`;
}

/** Whether the request is signed with the key, for this method and target, and still good. */
export function isSigned(key: BrowseKey, request: SignedRequest, header: string | undefined, now: Date): boolean {
  const match = /^HOLDFAST-HMAC-SHA256 (\d{1,15})\.([\w-]{43})$/u.exec(header ?? '');
  if (match?.[1] === undefined || match[2] === undefined) return false;
  const expires = Number(match[1]);
  const remainingMs = expires - now.getTime();
  if (remainingMs < -clockSkewMs || remainingMs > signatureLifetimeMs + clockSkewMs) return false;
  return timingSafeEqual(macOf(key, request, expires), Buffer.from(match[2], 'base64url'));
}

function macOf(key: BrowseKey, { method, target }: SignedRequest, expires: number): Buffer {
  return createHmac('sha256', key.bytes).update(`${scheme}\n${method}\n${target}\n${expires}`).digest();
}
