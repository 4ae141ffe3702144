import { createHash } from 'node:crypto';
import { openDiskCache } from '../cache/disk-cache.ts';

/**
 * A process that fills a cache until it is killed: `node fill-cache.ts <folder> <max bytes> <seed>`. Objects are of the seed, so that
 * another process knows them; it says `ready` on its standard output once the first is kept.
 */
export function cachedObject(seed: number, nth: number, sizeBytes = 200_000): { readonly path: string; readonly bytes: Uint8Array } {
  const bytes = Buffer.alloc(sizeBytes, `${String(seed)} ${String(nth)} `);
  return { path: `index/${createHash('sha256').update(bytes).digest('hex')}`, bytes };
}

if (process.argv[1] === import.meta.filename) {
  const [, , folder = '', maxBytes = '0', seed = '0'] = process.argv;
  const place = openDiskCache({ folder, maxBytes: Number(maxBytes) }).place('shop');
  for (let nth = 0; ; nth++) {
    const { path, bytes } = cachedObject(Number(seed), nth);
    await place.put(path, bytes);
    if (nth === 0) process.stdout.write('ready\n');
  }
}
