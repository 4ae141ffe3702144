import { z } from 'zod';

/** The levels of pino: 50 is error, 60 is fatal. */
const errorLevel = 50;
const errorNames: readonly unknown[] = ['error', 'fatal'];

const logLineSchema = z.looseObject({
  level: z.union([z.number(), z.string()]),
  msg: z.string().optional(),
  /** An error's words, where it was not logged whole. */
  reason: z.string().optional(),
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
  const isError = typeof parsed.level === 'number' ? parsed.level >= errorLevel : errorNames.includes(parsed.level);
  if (!isError) return undefined;
  const cause = [parsed.err?.code, parsed.err?.message, firstLineOf(parsed.reason)].filter(
    (part) => part !== undefined && part !== parsed.msg,
  );
  return [parsed.msg ?? 'error', ...cause].join(': ');
}

/** The stack below it stays in the log. */
function firstLineOf(text: string | undefined): string | undefined {
  return text
    ?.split('\n')
    .map((line) => line.trim())
    .find((line) => line !== '');
}

function parseLine(line: string): z.infer<typeof logLineSchema> | undefined {
  if (!line.startsWith('{')) return undefined;
  try {
    return logLineSchema.safeParse(JSON.parse(line)).data;
  } catch {
    return undefined; // It only looked like JSON.
  }
}
