import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { z } from 'zod';
import type { AdapterSettings } from '../remote/adapter-settings.ts';
import { type HttpAgents, openHttpAgents } from '../remote/http-agents.ts';
import { type HttpRequest, type HttpResponse, readJson, sendHttpRequest } from '../remote/http-request.ts';
import { codeOfHttpStatus } from '../remote/http-status-code.ts';
import { azureBlobError } from './azure-blob-error.ts';
import {
  azureBlobLocation,
  type AzureBlobOptions,
  entraAuthority,
  type EntraCredentials,
  type MachineCredentials,
} from './azure-blob-options.ts';

/**
 * Access tokens of Entra ID: an hour of rights for the secret of an application (learn.microsoft.com, "Microsoft identity platform and the
 * OAuth 2.0 client credentials flow"), or for being on a machine that has an identity ("How to use managed identities for Azure resources
 * on an Azure VM to acquire an access token"). Both servers answer with
 *
 *     { "access_token": "eyJ0…", "expires_in": 3599, "token_type": "Bearer" }
 *
 * Azure's client keeps a token and asks for another one two minutes before it ends. Its own package for identities was not taken: it looks
 * for rights in the environment, in files and in other programs.
 */
export interface EntraTokens {
  /** As Azure's client calls it. Errors: storage_denied, storage_unreachable. */
  getToken(scopes: unknown, options?: { readonly abortSignal?: unknown }): Promise<{ token: string; expiresOnTimestamp: number }>;
  close(): void;
}

const storageResource = 'https://storage.azure.com/';
/** Of a machine: an address that leads nowhere else. */
const machineOrigin = 'http://169.254.169.254';
const machineApiVersion = '2018-02-01';
const maxAnswerBytes = 65_536;

/** The machine's server writes numbers as texts. */
const answerSchema = z.object({ access_token: z.string().min(1), expires_in: z.coerce.number().positive() });
const refusalSchema = z.object({ error: z.string().regex(/^\w{1,64}$/u), error_description: z.string().optional() });

/** Nothing is fetched yet. Error: storage_denied for tokens that would come from a place that is not allowed, or go over a line without TLS. */
export function openEntraTokens(
  options: AzureBlobOptions,
  credentials: EntraCredentials | MachineCredentials,
  { idleTimeoutMs }: AdapterSettings,
  origin = machineOrigin,
): EntraTokens {
  const location = azureBlobLocation(options);
  if (!location.startsWith('azure_blob:https:')) {
    throw new HoldfastError('storage_denied', `tokens are not sent to ${location}, which has no TLS`, {
      hint: 'give an endpoint with https, or a SAS',
    });
  }
  const line = { maxConnections: 1, idleTimeoutMs };
  if ('from' in credentials) return tokensBy(() => requestByMachine(credentials, origin), openHttpAgents(line), location);
  const authority = entraAuthority(credentials, options);
  if (authority === undefined) {
    throw new HoldfastError('storage_denied', 'tokens are not fetched from the authority that the credentials name', {
      hint: "leave out authority, or give one of Microsoft's, or one at the host of the endpoint",
    });
  }
  // Microsoft's servers are none of those that the authority of a private endpoint vouches for.
  const trust = authority.isEndpoint ? { caCertificate: options.caCertificate } : {};
  const agents = openHttpAgents({ ...line, ...trust, proxyUrl: options.proxy });
  return tokensBy(() => requestBySecret(credentials, authority.url), agents, location);
}

function requestBySecret({ tenantId, clientId, clientSecret }: EntraCredentials, authority: URL): HttpRequest {
  const form = { grant_type: 'client_credentials', client_id: clientId, client_secret: clientSecret, scope: `${storageResource}.default` };
  return {
    method: 'POST',
    url: new URL(`/${tenantId}/oauth2/v2.0/token`, authority),
    headers: { 'content-type': 'application/x-www-form-urlencoded' },
    body: [Buffer.from(new URLSearchParams(form).toString())],
    maxAnswerBytes,
  };
}

function requestByMachine({ clientId }: MachineCredentials, origin: string): HttpRequest {
  const url = new URL('/metadata/identity/oauth2/token', origin);
  url.searchParams.set('api-version', machineApiVersion);
  url.searchParams.set('resource', storageResource);
  if (clientId !== undefined) url.searchParams.set('client_id', clientId);
  return { method: 'GET', url, headers: { metadata: 'true' }, maxAnswerBytes };
}

function tokensBy(makeRequest: () => HttpRequest, agents: HttpAgents, location: string): EntraTokens {
  return {
    async getToken(_scopes, { abortSignal } = {}) {
      const signal = abortSignal instanceof AbortSignal ? abortSignal : undefined;
      const response = await sendHttpRequest(agents, { ...makeRequest(), signal }).catch((error: unknown) => {
        signal?.throwIfAborted();
        throw azureBlobError(error, 'the token server', location);
      });
      if (response.status !== 200) throw refusal(response, location);
      const parsed = answerSchema.safeParse(readJson(response.body));
      if (!parsed.success) throw new HoldfastError('storage_unreachable', `what gave no token for ${location} is not a token server`);
      const { access_token: token, expires_in: lifeS } = parsed.data;
      return { token, expiresOnTimestamp: Date.now() + lifeS * 1000 };
    },
    close: () => agents.close(),
  };
}

/** Of the server's words only its names for the error are kept: the rest says back what was asked. */
function refusal({ status, body }: HttpResponse, location: string): HoldfastError {
  const { error, error_description: description } = refusalSchema.safeParse(readJson(body)).data ?? {};
  const number = /\bAADSTS\d{4,8}\b/u.exec(description ?? '')?.[0];
  const said = [error ?? `HTTP status ${String(status)}`, ...(number === undefined ? [] : [number])].join(', ');
  const isFinal = status >= 400 && status < 500 && codeOfHttpStatus(status) !== 'storage_unreachable';
  return new HoldfastError(isFinal ? 'storage_denied' : 'storage_unreachable', `the token server gave no token for ${location}: ${said}`, {
    context: { location, status, ...(error === undefined ? {} : { serverCode: error }) },
    ...(isFinal ? { hint: 'check tenantId, clientId and clientSecret, which may have expired, or the identity of the machine' } : {}),
  });
}
