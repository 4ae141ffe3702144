import { invariant } from '@holdfast/errors/invariant';
import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { parentPort, workerData, type Transferable } from 'node:worker_threads';
import { encodeError } from './thread-error.ts';
import { lowerThreadPriority } from './thread-priority.ts';
import type { OpenThreadSession, SessionContext, ThreadReply, ThreadRequest, ThreadSession, ThreadStart } from './thread-session.ts';

/** What every thread of a pool runs: it holds sessions and passes calls on to them. */
invariant(parentPort !== null, 'this module is the entry of a thread');
const port = parentPort;
const start: ThreadStart = workerData;
if (start.lowPriority) lowerThreadPriority();

/** The session, and the end of its last call: calls of one session wait for each other, those of several do not. */
interface HeldSession {
  readonly opening: Promise<ThreadSession>;
  last: Promise<void>;
}

const sessions = new Map<number, HeldSession>();

port.on('message', (request: ThreadRequest) => {
  // A module that cannot be loaded is told of when it is opened.
  if (request.kind === 'load') import(request.module).catch(() => {});
  else if (request.kind === 'open') open(request);
  else queue(request);
});

function open(request: ThreadRequest & { kind: 'open' }): void {
  const opening = openSession(request);
  // Whoever calls the session hears of it.
  opening.catch(() => {});
  sessions.set(request.session, { opening, last: Promise.resolve() });
}

async function openSession({ session, module, threadNumber, abortFlag, data }: ThreadRequest & { kind: 'open' }): Promise<ThreadSession> {
  const flag = new Int32Array(abortFlag);
  const context: SessionContext = {
    threadNumber,
    throwIfAborted: () => {
      if (Atomics.load(flag, 0) !== 0) throw new HoldfastError('internal', 'the work of this thread was given up');
    },
    emit: (event) => reply({ kind: 'event', session, event }),
  };
  const opened: { openThreadSession: OpenThreadSession } = await import(module);
  return await opened.openThreadSession(data, context);
}

function queue(request: ThreadRequest & { kind: 'call' | 'close' }): void {
  const held = sessions.get(request.session);
  invariant(held !== undefined, `there is no session ${request.session}`);
  if (request.kind === 'close') sessions.delete(request.session);
  held.last = held.last.then(() => run(held.opening, request));
}

/** Never rejects. */
async function run(opening: Promise<ThreadSession>, request: ThreadRequest & { kind: 'call' | 'close' }): Promise<void> {
  const { call } = request;
  try {
    if (request.kind === 'call') {
      const { output, transfer } = await (await opening).handle(request.input);
      reply({ kind: 'answer', call, output }, transfer);
    } else {
      // A session that could not be opened has nothing to close; its calls have told why.
      const session = await opening.catch(() => undefined);
      await session?.close();
      reply({ kind: 'answer', call, output: undefined });
    }
  } catch (error) {
    reply({ kind: 'failure', call, error: encodeError(error) });
  }
}

function reply(message: ThreadReply, transfer: readonly Transferable[] = []): void {
  port.postMessage(message, [...transfer]);
}
