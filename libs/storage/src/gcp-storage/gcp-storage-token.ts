import { createPrivateKey, sign, type KeyObject } from 'node:crypto';
import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { z } from 'zod';
import type { HttpAgents } from '../remote/http-agents.ts';
import { untilAborted } from '../until-aborted.ts';
import { gcpConnectionError, gcpTokenError } from './gcp-storage-error.ts';
import { gcpTokenUrl, type GcpServiceAccountKey } from './gcp-storage-options.ts';
import { type HttpRequest, readJson, sendHttpRequest } from '../remote/http-request.ts';

/**
 * Access tokens: an hour of rights for a signature of a service account
 * (developers.google.com/identity/protocols/oauth2/service-account, "HTTP/REST"), or for being on a machine that has an account
 * (cloud.google.com/compute/docs/access/authenticate-workloads). Both servers answer with
 *
 *     { "access_token": "ya29.…", "expires_in": 3599, "token_type": "Bearer" }
 */
export interface GcpTokens {
  /** One that is good for some minutes more. `isNew` when it was fetched for this call. */
  take(signal: AbortSignal | undefined): Promise<{ readonly token: string; readonly isNew: boolean }>;
  /** The API refused it: it is not given again. */
  forget(token: string): void;
}

export type GcpTokenRequest = () => HttpRequest;

/** What a storage does; which objects and what with them is the word of the account's roles. */
const scope = 'https://www.googleapis.com/auth/devstorage.read_write';
/** The longest that the token server takes. */
const assertionLifeS = 3600;
/** A pack on a slow line is on its way for minutes, and the API looks at the token at its beginning: one minute is plenty. */
const renewBeforeMs = 5 * 60_000;
const maxAnswerBytes = 65_536;

const answerSchema = z.object({ access_token: z.string().min(1), expires_in: z.number().positive() });

/**
 * Tokens by a service account's key. Nothing is fetched yet.
 * Error: storage_denied for a key that cannot sign, or whose tokens would come from a place that is not allowed.
 */
export function requestByKey(key: GcpServiceAccountKey, endpoint: string | undefined, nowMs: () => number = Date.now): GcpTokenRequest {
  const url = gcpTokenUrl(key, endpoint);
  if (url === undefined) {
    throw new HoldfastError('storage_denied', `tokens are not fetched from the token_uri of the service account's key`, {
      hint: 'use a key whose token_uri is https://oauth2.googleapis.com/token, or one at the host of the endpoint',
    });
  }
  const privateKey = readPrivateKey(key.private_key);
  return () => {
    const body = new URLSearchParams({
      grant_type: 'urn:ietf:params:oauth:grant-type:jwt-bearer',
      assertion: signAssertion(key, privateKey, url, Math.floor(nowMs() / 1000)),
    });
    return {
      method: 'POST',
      url,
      headers: { 'content-type': 'application/x-www-form-urlencoded' },
      body: [Buffer.from(body.toString())],
      maxAnswerBytes,
    };
  };
}

/** Tokens of the machine's own service account, from the server that only the machine can reach. */
export function requestByMachine(metadataOrigin = 'http://metadata.google.internal'): GcpTokenRequest {
  const url = new URL('/computeMetadata/v1/instance/service-accounts/default/token', metadataOrigin);
  return () => ({ method: 'GET', url, headers: { 'metadata-flavor': 'Google' }, maxAnswerBytes });
}

/** Calls at once share one request for a token, which an abort of one of them does not end. */
export function openGcpTokens(agents: HttpAgents, makeRequest: GcpTokenRequest, location: string): GcpTokens {
  let held: { readonly token: string; readonly renewAtMs: number } | undefined;
  let fetching: Promise<string> | undefined;

  const fetchToken = async (): Promise<string> => {
    const place = { what: 'the token server', location };
    const response = await sendHttpRequest(agents, makeRequest()).catch((error: unknown) => {
      throw gcpConnectionError(error, place);
    });
    if (response.status !== 200) throw gcpTokenError(response, place);
    const parsed = answerSchema.safeParse(readJson(response.body));
    if (!parsed.success) throw new HoldfastError('storage_unreachable', `what gave no token for ${location} is not a token server`);
    const { access_token: token, expires_in: lifeS } = parsed.data;
    held = { token, renewAtMs: performance.now() + Math.max(lifeS * 500, lifeS * 1000 - renewBeforeMs) };
    return token;
  };
  return {
    async take(signal) {
      if (held !== undefined && performance.now() < held.renewAtMs) return { token: held.token, isNew: false };
      fetching ??= fetchToken().finally(() => (fetching = undefined));
      return { token: await untilAborted(fetching, signal), isNew: true };
    },
    forget(token) {
      if (held?.token === token) held = undefined;
    },
  };
}

function readPrivateKey(pem: string): KeyObject {
  let key: KeyObject | undefined;
  try {
    key = createPrivateKey(pem);
  } catch {
    // OpenSSL's words are no help, and close to the key.
  }
  if (key?.asymmetricKeyType === 'rsa') return key;
  throw new HoldfastError('storage_denied', `the private_key of the service account is no RSA key`, {
    hint: 'give the JSON file as Google handed it out; the line ends inside private_key are written \\n',
  });
}

function signAssertion(key: GcpServiceAccountKey, privateKey: KeyObject, tokenUrl: URL, nowS: number): string {
  const header = { alg: 'RS256', typ: 'JWT', ...(key.private_key_id === undefined ? {} : { kid: key.private_key_id }) };
  const claims = { iss: key.client_email, scope, aud: tokenUrl.href, iat: nowS, exp: nowS + assertionLifeS };
  const signed = `${base64url(JSON.stringify(header))}.${base64url(JSON.stringify(claims))}`;
  return `${signed}.${sign('sha256', Buffer.from(signed), privateKey).toString('base64url')}`;
}

function base64url(text: string): string {
  return Buffer.from(text).toString('base64url');
}
