import { lookup as resolveName, type LookupAddress } from 'node:dns';
import { Agent as HttpAgent, request as httpRequest, type IncomingMessage } from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';
import { BlockList, isIP, type LookupFunction } from 'node:net';
import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { isAllowedHost } from '@holdfast/policy/allowed-hosts';
import { hookServer, type HttpHookOptions } from '@holdfast/sources/source-options/hooks';
import type { HookAnswer, HookCall } from './call-hook.ts';
import { HookOutput } from './hook-output.ts';

/** Link-local addresses, where clouds answer with credentials: a name must not lead there. Who means one allows the address itself. */
const linkLocal = new BlockList();
linkLocal.addSubnet('169.254.0.0', 16, 'ipv4');
linkLocal.addSubnet('fe80::', 10, 'ipv6');
linkLocal.addAddress('fd00:ec2::254', 'ipv6');

/**
 * Asks a server to freeze or thaw: a POST of `{ "hook": "freeze", "jobId": "...", "configId": "..." }`, answered with 2xx when it is done. Neither
 * redirects nor proxies of the environment are followed. Codes: hook_host_not_allowed, hook_failed, the signal's reason.
 */
export async function callHttpHook({ url, timeoutSeconds }: HttpHookOptions, call: HookCall): Promise<HookAnswer> {
  const server = hookServer(url);
  if (!isAllowedHost(server, call.hookHosts)) {
    throw new HoldfastError('hook_host_not_allowed', `the host ${server.host}:${server.port} of a hook is not among the allowed ones`);
  }
  const late = AbortSignal.timeout(timeoutSeconds * 1000);
  const signal = AbortSignal.any([call.signal, late]);
  const { origin } = new URL(url);
  try {
    const answer = await post(url, call, signal);
    const output = await bodyOf(answer, call.secrets);
    const status = answer.statusCode ?? 0;
    if (status >= 200 && status < 300) return { output };
    const hint = status >= 300 && status < 400 ? ', a redirect, which is not followed' : '';
    const said = output === '' ? '' : `; it said: ${output.slice(-500)}`;
    throw new HoldfastError('hook_failed', `the ${call.action} hook at ${origin} answered ${status}${hint}${said}`);
  } catch (error) {
    call.signal.throwIfAborted();
    if (error instanceof HoldfastError) throw error;
    const why = late.aborted ? `did not answer within ${timeoutSeconds} s` : `could not be asked: ${messageOf(error)}`;
    throw new HoldfastError('hook_failed', `the ${call.action} hook at ${origin} ${why}`, { cause: error });
  }
}

async function post(url: string, { action, jobId, configId, token }: HookCall, signal: AbortSignal): Promise<IncomingMessage> {
  const body = JSON.stringify({ hook: action, jobId, configId });
  const isSecure = url.startsWith('https:');
  // An agent of its own knows no proxy, and leaves no connection behind.
  const options = {
    method: 'POST',
    signal,
    agent: isSecure ? new HttpsAgent({ keepAlive: false }) : new HttpAgent({ keepAlive: false }),
    lookup: lookupAllowed,
    headers: {
      'content-type': 'application/json',
      'content-length': Buffer.byteLength(body),
      ...(token === null ? {} : { authorization: `Bearer ${token}` }),
    },
  };
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
  const request = isSecure ? httpsRequest(url, options) : httpRequest(url, options);
  request.on('response', resolve).on('error', reject);
  request.end(body);
  return await promise;
}

async function bodyOf(answer: IncomingMessage, secrets: readonly string[]): Promise<string> {
  const output = new HookOutput();
  for await (const bytes of answer) if (bytes instanceof Uint8Array) output.add(bytes);
  return output.text(secrets);
}

/** Addresses in the URL itself are not looked up: they are in the list of allowed hosts as they stand. */
const lookupAllowed: LookupFunction = (hostname, options, callback) => {
  resolveName(hostname, { ...options, all: true }, (error, addresses) => {
    if (error !== null) return callback(error, '', 0);
    const allowed = addresses.filter(({ address }) => !isLinkLocal(address));
    const [first] = allowed;
    if (first === undefined) return callback(new Error(`${hostname} leads to a link-local address`), '', 0);
    if (options.all === true) return callback(null, allowed satisfies LookupAddress[]);
    return callback(null, first.address, first.family);
  });
};

function isLinkLocal(address: string): boolean {
  return linkLocal.check(address, isIP(address) === 6 ? 'ipv6' : 'ipv4');
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
