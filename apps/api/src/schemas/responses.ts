import { z } from 'zod';
import { errorCodes, type ErrorCode } from '@holdfast/errors/error-codes';
import { problemMediaType, statusByCode } from '../problem.ts';

export const problemSchema = z
  .object({
    type: z.string(),
    title: z.string(),
    status: z.number().int(),
    detail: z.string().describe('What is wrong with this request'),
    code: z.enum(Object.keys(errorCodes)).describe('Stable name of the error'),
    hint: z.string().describe('What to do'),
    errors: z
      .array(z.object({ field: z.string(), message: z.string() }))
      .optional()
      .describe('The fields of the request that are wrong'),
    instance: z.string().describe('The id of the request, as in the log'),
  })
  .meta({ id: 'Problem' });

/** Problems that every route that asks for a token may answer with. */
const usualCodes: readonly ErrorCode[] = ['token_missing', 'role_insufficient', 'rate_limited', 'internal', 'database_unreachable'];

type ProblemResponse = { description: string; content: Record<typeof problemMediaType, { schema: typeof problemSchema }> };

/** The declarations of the problems of a route, by status. */
export function problemResponses(...codes: ErrorCode[]): Record<number, ProblemResponse> {
  const codesByStatus = Map.groupBy([...usualCodes, ...codes], (code) => statusByCode[code]);
  return Object.fromEntries(
    [...codesByStatus].map(([status, all]) => [
      status,
      { description: [...new Set(all)].join(', '), content: { [problemMediaType]: { schema: problemSchema } } },
    ]),
  );
}

export const noContentSchema = z.undefined().describe('Done; there is nothing to say');
