import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { z } from 'zod';

export type Environment = Readonly<Record<string, string | undefined>>;

/**
 * A program's settings out of the environment; an empty variable counts as not given, as compose files pass them on.
 * Throws configuration_invalid, which names every variable that does not fit and repeats no value.
 */
export function readSettings<Schema extends z.ZodObject>(schema: Schema, environment: Environment): z.output<Schema> {
  const given = Object.fromEntries(Object.entries(environment).filter(([, value]) => value !== undefined && value !== ''));
  const parsed = schema.safeParse(given);
  if (parsed.success) return parsed.data;
  const reasons = parsed.error.issues.map((issue) => `${issue.path.join('.')}: ${issue.message}`);
  throw new HoldfastError('configuration_invalid', `settings are wrong: ${reasons.join('; ')}`);
}

/** For `transform`: a setting that `read` makes something of. What `read` throws may repeat the value; `message` is said in its place. */
export function readWith<T>(read: (text: string) => T, message: string): (text: string, context: z.RefinementCtx) => T {
  return (text, context) => {
    try {
      return read(text);
    } catch {
      context.addIssue({ code: 'custom', message });
      return z.NEVER;
    }
  };
}
