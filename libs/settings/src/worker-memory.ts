/**
 * What the environment of a worker's process has for Node, which reads it before any code of ours runs: room for young objects, in MiB.
 * Walking a source has much in hand that lives for a moment. In the nursery of 16 MiB that a process has by default, three times that much
 * lies around before it is looked at, 50 MB in a large backup. Looking more often takes as long in sum, since there is less to look at;
 * where most of it does live on, as when every folder of a parent is read from the repository, it takes a few percent more.
 */
export const workerMemory = { NODE_OPTIONS: '--max-semi-space-size=2' } as const;
