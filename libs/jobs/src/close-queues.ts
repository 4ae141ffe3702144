import type { QueueEventsProducer } from 'bullmq';
import type { JobQueue } from './queue-backend.ts';
import { withDeadline } from './with-deadline.ts';

/** close() of a queue whose server is gone may never return. */
const closeTimeoutMs = 3_000;

/** Ends their connections, within 3 s each way even when the server is gone. */
export async function closeQueues(queues: readonly (JobQueue | QueueEventsProducer)[]): Promise<void> {
  await Promise.all(
    queues.map(async (queue) => {
      try {
        await withDeadline(queue.close(), closeTimeoutMs);
      } catch {
        // The server is gone; the connection is dropped without a farewell.
        await withDeadline(Promise.resolve(queue.disconnect()), closeTimeoutMs).catch(() => undefined);
      }
    }),
  );
}
