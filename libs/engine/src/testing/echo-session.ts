import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { readFileSync } from 'node:fs';
import { getCompileCacheDir } from 'node:module';
import type { OpenThreadSession } from '../threads/thread-session.ts';

export type EchoCall =
  | { readonly do: 'echo'; readonly text: string }
  | { readonly do: 'niceness' }
  | { readonly do: 'compiled' }
  | { readonly do: 'fail' }
  | { readonly do: 'spin' }
  | { readonly do: 'hang' }
  | { readonly do: 'exit' };

/**
 * A session for tests of the pool: says what it hears, fails, works until it is told to stop, or never looks up.
 *
 * @public loaded by thread-main.ts, by its URL
 */
export const openThreadSession: OpenThreadSession = (data, context) => ({
  handle(input) {
    const call = input as EchoCall;
    if (call.do === 'echo') {
      context.emit(`heard ${call.text}`);
      return { output: `${String(data)} ${context.threadNumber} ${call.text}` };
    }
    if (call.do === 'niceness') return { output: nicenessOfThread() };
    if (call.do === 'compiled') return { output: getCompileCacheDir() };
    if (call.do === 'fail') {
      const cause = new TypeError('deeper');
      throw new HoldfastError('storage_full', 'no room', { hint: 'make room', context: { object: 'data/ab' }, cause });
    }
    if (call.do === 'exit') process.exit(3);
    for (;;) if (call.do === 'spin') context.throwIfAborted();
  },
  close() {},
});

/** The 19th field of the thread's stat; the second one, its name, may hold blanks and ends at the last parenthesis. */
export function nicenessOfThread(path = '/proc/thread-self'): number {
  const stat = readFileSync(`${path}/stat`, 'utf8');
  return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[16]);
}
