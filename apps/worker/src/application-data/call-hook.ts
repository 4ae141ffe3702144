import { partPassword } from '@holdfast/database/backup-configs';
import type { HostPattern } from '@holdfast/policy/allowed-hosts';
import type { HookOptions } from '@holdfast/sources/source-options/hooks';
import { hooksPasswordName } from '@holdfast/sources/source-options/part-name';
import type { WorkerContext } from '../worker-context.ts';
import { callHttpHook } from './call-http-hook.ts';
import { runProgramHook } from './run-program-hook.ts';

export type HookAction = 'freeze' | 'thaw';

export interface HookCall {
  readonly action: HookAction;
  readonly jobId: string;
  readonly configId: string;
  readonly hooksDir: string | undefined;
  readonly hookHosts: readonly HostPattern[];
  /** Bearer token of requests; null for none. */
  readonly token: string | null;
  /** Never shown, should the hook say one of them. */
  readonly secrets: readonly string[];
  readonly signal: AbortSignal;
}

export interface HookAnswer {
  /** The end of what it said, without secrets. */
  readonly output: string;
}

/** Calls a hook and waits for it. Codes: hook_not_found, hook_host_not_allowed, hook_failed, the signal's reason. */
export async function callHook(hook: HookOptions, call: HookCall): Promise<HookAnswer> {
  return hook.kind === 'program' ? await runProgramHook(hook, call) : await callHttpHook(hook, call);
}

export interface HookOwner {
  readonly jobId: string;
  readonly configId: string;
  /** What the token is sealed for; null when there is none. */
  readonly place: string | null;
}

/** What calls of a config's hooks have in common. Code: secret_unreadable. */
export async function hookCallOf(
  { config, database, masterKey }: Pick<WorkerContext, 'config' | 'database' | 'masterKey'>,
  { jobId, configId, place }: HookOwner,
): Promise<Omit<HookCall, 'action' | 'signal'>> {
  const token = place === null ? null : await partPassword(database.client, configId, { name: hooksPasswordName, place }, masterKey);
  const { hooksDir, hookHosts } = config;
  return { jobId, configId, hooksDir, hookHosts, token, secrets: token === null ? [] : [token] };
}
