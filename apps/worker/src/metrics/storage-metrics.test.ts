import { expect, it } from 'vitest';
import { metricsText } from './metrics-text.ts';
import { createStorageMetrics } from './storage-metrics.ts';

it('has no numbers before the first call', () => {
  expect(metricsText(createStorageMetrics().metrics(null))).toBe('');
});

it('counts calls by kind and operation, with buckets that add up', () => {
  const metrics = createStorageMetrics();
  for (const durationMs of [1, 5, 6, 61_000]) metrics.onCall('s3', { operation: 'get', sizeBytes: 10, durationMs });
  metrics.onCall('s3', { operation: 'get', sizeBytes: 0, durationMs: 1, errorCode: 'storage_unreachable' });
  metrics.onCall('sftp', { operation: 'put', sizeBytes: 7, durationMs: 20 });
  metrics.onRetry('s3', 'get');
  const buckets = '0.005 3, 0.01 4, 0.025 4, 0.05 4, 0.1 4, 0.25 4, 0.5 4, 1 4, 2.5 4, 5 4, 10 4, 30 4, 60 4, +Inf 5'
    .split(', ')
    .map((bucket) => bucket.split(' '));
  const lines = metricsText(metrics.metrics(null)).split('\n');
  expect(lines.filter((line) => line.includes('operation="get"'))).toEqual([
    ...buckets.map(([bound = '', count = '']) => {
      return `holdfast_storage_request_duration_seconds_bucket{storage="s3",operation="get",le="${bound}"} ${count}`;
    }),
    'holdfast_storage_request_duration_seconds_sum{storage="s3",operation="get"} 61.013',
    'holdfast_storage_request_duration_seconds_count{storage="s3",operation="get"} 5',
    'holdfast_storage_errors_total{storage="s3",operation="get",code="storage_unreachable"} 1',
    'holdfast_storage_retries_total{storage="s3",operation="get"} 1',
  ]);
  expect(lines).toContain('holdfast_storage_received_bytes_total{storage="s3"} 40');
  expect(lines).toContain('holdfast_storage_sent_bytes_total{storage="sftp"} 7');
});

it('escapes what a label may hold', () => {
  const samples = [{ labels: { a: 'x"y\\z\n' }, value: 1 }];
  expect(metricsText([{ name: 'm', type: 'gauge', help: 'h', samples }])).toBe('# HELP m h\n# TYPE m gauge\nm{a="x\\"y\\\\z\\n"} 1\n');
});
