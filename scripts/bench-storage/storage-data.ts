import { createHash } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { DataScale } from '../bench-engine/data-plan.ts';
import { createNoise } from '../bench-engine/random-stream.ts';

/** Data that no compressor makes much smaller, so that what goes over the line is what was asked for. */

const packBytes = 16 * 1024 * 1024;
const packsPerGb = 64;
/** 44 MB in 4,800 small files, and large ones of noise, of a GB. */
const smallFilesPerMb = 4.8;
const noiseShare = 0.956;
const noiseFileCount = 8;

export function packCountOf(sizeMb: number): number {
  return Math.max(1, Math.round((sizeMb * packsPerGb) / 1000));
}

export function backupScale(sizeMb: number): DataScale {
  return {
    name: `storage-${sizeMb}`,
    smallFileCount: Math.round(sizeMb * smallFilesPerMb),
    sql: { fileCount: 0, fileSizeBytes: 0 },
    noise: { fileCount: noiseFileCount, fileSizeBytes: Math.round((sizeMb * 1e6 * noiseShare) / noiseFileCount) },
  };
}

/** Objects as a repository has them, of the size of its packs; by name: `data/<two hex>/<id>`. Returns the sum of their sizes. */
export function makePacks(folder: string, count: number): number {
  const noise = createNoise('packs');
  const pack = Buffer.allocUnsafe(packBytes);
  for (let nth = 0; nth < count; nth++) {
    noise(pack);
    const id = createHash('sha256').update(pack).digest('hex');
    mkdirSync(join(folder, 'data', id.slice(0, 2)), { recursive: true });
    writeFileSync(join(folder, 'data', id.slice(0, 2), id), pack);
  }
  return count * packBytes;
}
