import { z } from 'zod';
import { listQuerySchema } from './primitives.ts';
import { runStatuses } from './run-view.ts';

/** The query of a list of runs: that of every list, and the status. */
export const runListQuerySchema = listQuerySchema.extend({
  status: z.enum(runStatuses).optional().describe('Only in this status'),
});

type Query = Pick<z.output<typeof runListQuerySchema>, 'limit' | 'cursor' | 'from' | 'to'>;

/** A list's query as the rows' functions take it: times as dates, the page apart from the filter. */
export function filterAndPage<Q extends Query>(query: Q) {
  const { limit, cursor, from, to, ...filter } = query;
  return {
    filter: { ...filter, from: from === undefined ? undefined : new Date(from), to: to === undefined ? undefined : new Date(to) },
    page: { limit, cursor },
  };
}
