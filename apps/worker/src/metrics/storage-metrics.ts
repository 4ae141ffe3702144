import type { DiskCacheCounts } from '@holdfast/storage/cache/disk-cache';
import type { StorageOperation } from '@holdfast/storage/storage';
import type { RemoteStorageOptions } from '@holdfast/storage/storage-options';
import type { MeteredCall } from '@holdfast/storage/wrappers/metering-storage';
import type { Metric, MetricSample } from './metrics-text.ts';

/**
 * Calls to storages at servers since the worker began, by kind and operation: so many series and no more, however many repositories there
 * are. One try is one call; those that came after a failure are counted as retries beside.
 */
export interface StorageMetrics {
  onCall(storage: StorageKind, call: MeteredCall): void;
  onRetry(storage: StorageKind, operation: StorageOperation): void;
  /** `cache`: null when nothing is kept. */
  metrics(cache: DiskCacheCounts | null): readonly Metric[];
}

type StorageKind = RemoteStorageOptions['type'];

/** Upper bounds, in seconds: from a server in the next room to a pack over a slow line. */
const bucketSeconds = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60] as const;

export function createStorageMetrics(): StorageMetrics {
  return new CountedCalls();
}

interface Latency {
  readonly storage: StorageKind;
  readonly operation: StorageOperation;
  /** Calls that took no longer than the bound, and longer than the one before. The last is of those beyond all. */
  readonly bucketCounts: number[];
  sumSeconds: number;
}

class CountedCalls implements StorageMetrics {
  readonly #latencies = new Map<string, Latency>();
  readonly #errors = new Counter();
  readonly #sentBytes = new Counter();
  readonly #receivedBytes = new Counter();
  readonly #retries = new Counter();

  onCall(storage: StorageKind, { operation, sizeBytes, durationMs, errorCode }: MeteredCall): void {
    this.#observe(storage, operation, durationMs / 1000);
    if (errorCode !== undefined) this.#errors.add({ storage, operation, code: errorCode }, 1);
    if (operation === 'put') this.#sentBytes.add({ storage }, sizeBytes);
    if (operation === 'get') this.#receivedBytes.add({ storage }, sizeBytes);
  }

  onRetry(storage: StorageKind, operation: StorageOperation): void {
    this.#retries.add({ storage, operation }, 1);
  }

  metrics(cache: DiskCacheCounts | null): readonly Metric[] {
    return [
      {
        name: 'holdfast_storage_request_duration_seconds',
        type: 'histogram',
        help: 'Calls to storages at servers, failed ones too, by how long they took; a listing with what was done between its pages.',
        samples: [...this.#latencies.values()].flatMap(latencySamples),
      },
      counter('holdfast_storage_errors_total', 'Calls that failed, by error code; a missing object is one too.', this.#errors.samples()),
      counter('holdfast_storage_retries_total', 'Calls that were tried again.', this.#retries.samples()),
      counter('holdfast_storage_sent_bytes_total', 'Bytes of objects that were written.', this.#sentBytes.samples()),
      counter('holdfast_storage_received_bytes_total', 'Bytes of objects that were read.', this.#receivedBytes.samples()),
      ...(cache === null ? [] : cacheMetrics(cache)),
    ];
  }

  #observe(storage: StorageKind, operation: StorageOperation, seconds: number): void {
    const key = `${storage} ${operation}`;
    const latency: Latency = this.#latencies.get(key) ?? {
      storage,
      operation,
      bucketCounts: Array.from({ length: bucketSeconds.length + 1 }, () => 0),
      sumSeconds: 0,
    };
    this.#latencies.set(key, latency);
    const found = bucketSeconds.findIndex((bound) => seconds <= bound);
    const nth = found === -1 ? bucketSeconds.length : found;
    latency.bucketCounts[nth] = (latency.bucketCounts[nth] ?? 0) + 1;
    latency.sumSeconds += seconds;
  }
}

/** Sums by labels. */
class Counter {
  readonly #samples = new Map<string, { readonly labels: Readonly<Record<string, string>>; value: number }>();

  add(labels: Readonly<Record<string, string>>, value: number): void {
    const key = Object.values(labels).join(' ');
    const sample = this.#samples.get(key) ?? { labels, value: 0 };
    this.#samples.set(key, sample);
    sample.value += value;
  }

  samples(): readonly MetricSample[] {
    return [...this.#samples.values()];
  }
}

function latencySamples({ storage, operation, bucketCounts, sumSeconds }: Latency): MetricSample[] {
  const labels = { storage, operation };
  let count = 0;
  const buckets = bucketCounts.map((ofBucket, nth) => {
    count += ofBucket;
    return { suffix: '_bucket', labels: { ...labels, le: String(bucketSeconds[nth] ?? '+Inf') }, value: count };
  });
  return [...buckets, { suffix: '_sum', labels, value: sumSeconds }, { suffix: '_count', labels, value: count }];
}

function counter(name: string, help: string, samples: readonly MetricSample[]): Metric {
  return { name, type: 'counter', help, samples };
}

function cacheCounter(name: string, help: string, value: number): Metric {
  return counter(`holdfast_storage_cache_${name}`, help, [{ value }]);
}

function cacheMetrics(counts: DiskCacheCounts): Metric[] {
  return [
    cacheCounter('hits_total', 'Reads of storages at servers that the disk answered.', counts.hits),
    cacheCounter('misses_total', 'Reads that it could have answered and did not.', counts.misses),
    cacheCounter('hit_bytes_total', 'Bytes that came from the disk.', counts.hitBytes),
    cacheCounter('written_bytes_total', 'Bytes that were kept.', counts.writtenBytes),
    cacheCounter('evictions_total', 'Files that went to make room.', counts.evictions),
    cacheCounter('damaged_total', 'Files that were not what they should be.', counts.damaged),
    cacheCounter('failures_total', 'Reads and writes that the disk refused.', counts.failures),
    {
      name: 'holdfast_storage_cache_held_bytes',
      type: 'gauge',
      help: 'Bytes that the folder takes, as far as this worker knows.',
      samples: [{ value: counts.heldBytes }],
    },
  ];
}
