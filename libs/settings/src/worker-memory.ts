/**
 * What the environment of a worker's process has for Node and for the C library, which read it before any code of ours runs.
 *
 * NODE_OPTIONS: room for young objects, in MiB. Walking a source has much in hand that lives for a moment. In the nursery of 16 MiB that a
 * process has by default, three times that much lies around before it is looked at, 50 MB in a large backup. Looking more often takes as
 * long in sum, since there is less to look at; where most of it does live on, as when every folder of a parent is read from the
 * repository, it takes a few percent more.
 *
 * MALLOC_…: of glibc; others pass over them. It keeps a heap for each thread and, once one large piece was given back, lays the next ones
 * into these heaps too, where they tear holes that stay: packs of 16 MiB that go from thread to thread to a connection cost 60 to 100 MB
 * so. With a fixed threshold (bytes) each of them is a mapping of its own, which goes when it is given back. It costs no time that can be
 * measured.
 */
export const workerMemory = {
  NODE_OPTIONS: '--max-semi-space-size=2',
  MALLOC_ARENA_MAX: '2',
  MALLOC_MMAP_THRESHOLD_: '524288',
} as const;
