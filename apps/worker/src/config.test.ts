import { isHoldfastError } from '@holdfast/errors/holdfast-error';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { readWorkerConfig } from './config.ts';

const masterKey = Buffer.alloc(32, 1).toString('base64');
const least = { DATABASE_URL: 'postgresql://u:secret@localhost/db', HOLDFAST_MASTER_KEY: masterKey };

describe('readWorkerConfig', () => {
  test('needs a database and a master key, and knows the rest', () => {
    expect(readWorkerConfig(least)).toMatchObject({
      redisUrl: undefined,
      sourceRoots: [],
      logRemovalRoots: [],
      storageRoots: [],
      targetRoots: [],
      storageCacheDir: join(tmpdir(), 'holdfast-scratch', 'storage-cache'),
      storageCacheBytes: 1024 ** 3,
      metricsPort: undefined,
      metricsHost: '127.0.0.1',
      labels: [],
      labelsOnly: false,
      concurrency: 2,
      shutdownGraceMs: 30_000,
      slotWarningBytes: 8 * 1024 ** 3,
      cleanupSchedule: '0 3 * * *',
      logLevel: 'info',
      logPretty: false,
    });
  });

  test('takes an empty variable for one that is not set', () => {
    expect(readWorkerConfig({ ...least, REDIS_URL: '', HOLDFAST_SCRATCH_DIR: '' }).redisUrl).toBeUndefined();
  });

  test('keeps what storages gave where it is told to, or in the scratch folder', () => {
    expect(readWorkerConfig({ ...least, HOLDFAST_SCRATCH_DIR: '/srv/a' }).storageCacheDir).toBe('/srv/a/storage-cache');
    const given = { HOLDFAST_SCRATCH_DIR: '/srv/a', HOLDFAST_STORAGE_CACHE_DIR: '/srv/b', HOLDFAST_STORAGE_CACHE_BYTES: '0' };
    expect(readWorkerConfig({ ...least, ...given })).toMatchObject({ storageCacheDir: '/srv/b', storageCacheBytes: 0 });
  });

  test('reads labels', () => {
    const given = { HOLDFAST_WORKER_LABELS: 'site-berlin, host:db1', HOLDFAST_WORKER_LABELS_ONLY: 'true' };
    expect(readWorkerConfig({ ...least, ...given })).toMatchObject({ labels: ['site-berlin', 'host:db1'], labelsOnly: true });
  });

  test('reads lists of roots', () => {
    expect(readWorkerConfig({ ...least, HOLDFAST_SOURCE_ROOTS: '/srv:/home/' }).sourceRoots).toEqual(['/srv', '/home']);
  });

  test.each([
    ['DATABASE_URL', 'mysql://x'],
    ['REDIS_URL', 'localhost:6379'],
    ['HOLDFAST_MASTER_KEY', 'c2hvcnQ='],
    ['HOLDFAST_WORKER_LABELS', 'Berlin'],
    ['HOLDFAST_WORKER_LABELS', 'a/b'],
    ['HOLDFAST_WORKER_LABELS', 'x'.repeat(64)],
    ['HOLDFAST_WORKER_LABELS', Array.from({ length: 17 }, (_, nth) => `l${nth}`).join(',')],
    ['HOLDFAST_WORKER_LABELS_ONLY', 'true'],
    ['HOLDFAST_WORKER_CONCURRENCY', '0'],
    ['HOLDFAST_WORKER_CONCURRENCY', 'many'],
    ['HOLDFAST_SLOT_WARNING_BYTES', '0'],
    ['HOLDFAST_SLOT_WARNING_BYTES', '8GiB'],
    ['HOLDFAST_CLEANUP_SCHEDULE', 'daily'],
    ['HOLDFAST_WORKER_METRICS_PORT', '70000'],
    ['HOLDFAST_TARGET_ROOTS', 'relative'],
    ['HOLDFAST_SCRATCH_DIR', 'relative'],
    ['HOLDFAST_STORAGE_CACHE_DIR', 'relative'],
    ['HOLDFAST_STORAGE_CACHE_BYTES', '-1'],
    ['HOLDFAST_STORAGE_CACHE_BYTES', '1GiB'],
    ['LOG_LEVEL', 'loud'],
  ])('names %s when it is %s, and repeats no value', (name, value) => {
    const error = (() => {
      try {
        return readWorkerConfig({ ...least, [name]: value });
      } catch (thrown) {
        return thrown;
      }
    })();
    expect(isHoldfastError(error, 'configuration_invalid')).toBe(true);
    expect(String(error)).toContain(name);
    expect(String(error)).not.toContain('secret');
    expect(String(error)).not.toContain(masterKey);
  });
});
