import { z } from 'zod';

/** The levels of pino: 50 is error, 60 is fatal. */
const ERROR_LEVEL = 50;

const logLineSchema = z.looseObject({
  level: z.number(),
  msg: z.string().optional(),
  err: z.looseObject({ message: z.string().optional(), code: z.string().optional() }).optional(),
});

/**
 * What the console is told of one line of a child's log: a sentence for an error, undefined for anything less. A line that is no JSON is
 * what a runtime says before or beside the log (a stack trace, a warning), so it is told as it is.
 */
export function consoleTextOf(line: string): string | undefined {
  if (line.trim() === '') return undefined;
  const parsed = parseLine(line);
  if (parsed === undefined) return line;
  if (parsed.level < ERROR_LEVEL) return undefined;
  const cause = [parsed.err?.code, parsed.err?.message].filter((part) => part !== undefined && part !== parsed.msg);
  return [parsed.msg ?? 'error', ...cause].join(': ');
}

function parseLine(line: string): z.infer<typeof logLineSchema> | undefined {
  if (!line.startsWith('{')) return undefined;
  try {
    return logLineSchema.safeParse(JSON.parse(line)).data;
  } catch {
    return undefined; // It only looked like JSON.
  }
}
