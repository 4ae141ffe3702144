import { z } from 'zod';

/** Programs of the worker, or requests to a server, before and after the moment of a backup. */

/** A name as every file system has it, and no path. */
const maxProgramNameLength = 64;
const maxUrlLength = 2048;
const defaultHookTimeoutSeconds = 30;
/** An application that takes longer to stand still is stopped, not frozen. */
const maxHookTimeoutSeconds = 600;
const defaultMaxFrozenSeconds = 60;
const maxMaxFrozenSeconds = 3600;

const timeoutSchema = z
  .int()
  .min(1)
  .max(maxHookTimeoutSeconds)
  .default(defaultHookTimeoutSeconds)
  .describe('Then it has failed; a program is killed with all that it started');

const programHookSchema = z.strictObject({
  kind: z.literal('program'),
  name: z
    .string()
    .max(maxProgramNameLength)
    .regex(/^[A-Za-z0-9][A-Za-z0-9._-]*$/u, 'must be the name of a program in the hooks folder, without a path or arguments')
    .describe('An executable in HOLDFAST_HOOKS_DIR of the worker. It gets no arguments; HOLDFAST_HOOK is freeze or thaw'),
  timeoutSeconds: timeoutSchema,
});

const httpHookSchema = z.strictObject({
  kind: z.literal('http'),
  url: z
    .string()
    .max(maxUrlLength)
    .refine(isHookUrl, 'must be an http or https URL without user, password and fragment')
    .describe('Gets a POST; its host is allowed by HOLDFAST_HOOK_HOSTS. Redirects are not followed'),
  timeoutSeconds: timeoutSchema,
});

const hookSchema = z.discriminatedUnion('kind', [programHookSchema, httpHookSchema]);

export const hooksSchema = z.strictObject({
  freeze: hookSchema.describe('Returns when the application stands still'),
  thaw: hookSchema.describe('Lets it go on. It is called in every case, also more than once, also when freeze has failed'),
  maxFrozenSeconds: z
    .int()
    .min(1)
    .max(maxMaxFrozenSeconds)
    .default(defaultMaxFrozenSeconds)
    .describe('From the call of freeze. Then it is thawed and the backup fails, since what is read later would be of another moment'),
  thawWhen: z
    .enum(['paths_read', 'after_moment'])
    .default('paths_read')
    .describe('paths_read: when the files of parts of kind paths are read too. after_moment: when all other parts have their moment'),
});

export type HookOptions = z.infer<typeof hookSchema>;
export type HooksOptions = z.infer<typeof hooksSchema>;
export type ProgramHookOptions = z.infer<typeof programHookSchema>;
export type HttpHookOptions = z.infer<typeof httpHookSchema>;
/** Reads one that was stored by itself. */
export const storedHookSchema = hookSchema;

function isHookUrl(text: string): boolean {
  if (!URL.canParse(text)) return false;
  const { protocol, username, password, hash } = new URL(text);
  return (protocol === 'http:' || protocol === 'https:') && username === '' && password === '' && hash === '';
}

/** The server of a URL, as it is held against the allowed ones. */
export function hookServer(url: string): { readonly host: string; readonly port: number } {
  const { hostname, port, protocol } = new URL(url);
  return { host: hostname.replace(/^\[(.*)\]$/u, '$1'), port: port === '' ? (protocol === 'https:' ? 443 : 80) : Number(port) };
}

/** What a bearer token is sealed for: the servers that get it. Null when no hook is a request. */
export function hooksPlace({ freeze, thaw }: HooksOptions): string | null {
  const origins = [freeze, thaw].flatMap((hook) => (hook.kind === 'http' ? [new URL(hook.url).origin] : []));
  return origins.length === 0 ? null : [...new Set(origins)].toSorted().join(' ');
}
