import { RandomStream } from './random-stream.ts';
import type { ContentKind } from './text-maker.ts';

/** One regular file of the data, relative to its top. */
export interface PlannedFile {
  readonly path: string;
  readonly kind: ContentKind;
  readonly sizeBytes: number;
}

/** How much of everything there is. */
export interface DataScale {
  readonly name: string;
  readonly smallFileCount: number;
  readonly sql: { readonly fileCount: number; readonly fileSizeBytes: number };
  readonly noise: { readonly fileCount: number; readonly fileSizeBytes: number };
}

const MB = 1_000_000;

/** 1.5 GB: 57,600 small files with about 530 MB, 680 MB of SQL, 315 MB that do not compress. */
export const fullScale: DataScale = {
  name: 'full',
  smallFileCount: 57_600,
  sql: { fileCount: 8, fileSizeBytes: 85 * MB },
  noise: { fileCount: 3, fileSizeBytes: 105 * MB },
};

/** A tenth, for trying. */
export const quickScale: DataScale = {
  name: 'quick',
  smallFileCount: 5_760,
  sql: { fileCount: 2, fileSizeBytes: 34 * MB },
  noise: { fileCount: 1, fileSizeBytes: 31.5 * MB },
};

/** Change it whenever the same scale would give other bytes: it is in the stamp of what was made. */
export const planVersion = 1;

const largestSmallFileBytes = 1024 * 1024;
/** Of the logarithm of a small file's size: a median of 3.3 kB and a mean of 9 kB, as in a source tree with its pictures. */
const medianBytes = 3_350;
const spread = 1.45;
const filesPerProject = 480;
const filesPerFolder = 20;
/** One in a hundred is changed. */
const changeEvery = 100;

/** Every file of a scale, always the same. Every hundredth of the small ones is one that changeFiles changes. */
export function planFiles(scale: DataScale): PlannedFile[] {
  const random = new RandomStream('plan');
  const files: PlannedFile[] = Array.from({ length: scale.smallFileCount }, (_, nth) => planSmallFile(random, nth));
  for (let nth = 0; nth < scale.sql.fileCount; nth++)
    files.push({ path: `dump/orders-${nth}.sql`, kind: 'sql', sizeBytes: scale.sql.fileSizeBytes });
  for (let nth = 0; nth < scale.noise.fileCount; nth++)
    files.push({ path: `media/film-${nth}.bin`, kind: 'noise', sizeBytes: scale.noise.fileSizeBytes });
  return files;
}

/** The small files that change between two backups: 1 %, spread over the folders. */
export function changedFiles(scale: DataScale): PlannedFile[] {
  return planFiles(scale)
    .slice(0, scale.smallFileCount)
    .filter((_, nth) => nth % changeEvery === changeEvery / 2);
}

function planSmallFile(random: RandomStream, nth: number): PlannedFile {
  const share = random.fraction();
  // Sum of uniform numbers for a normal one.
  const normal = Array.from({ length: 12 }, () => random.fraction()).reduce((sum, value) => sum + value, -6);
  const drawnBytes = Math.round(medianBytes * Math.exp(normal * spread));
  const sizeBytes = share < 0.02 ? 0 : Math.min(drawnBytes, largestSmallFileBytes);
  const [kind, ending] = kindOf(share);
  const project = `project-${String(Math.floor(nth / filesPerProject)).padStart(3, '0')}`;
  const folder = `part-${Math.floor((nth % filesPerProject) / filesPerFolder)}`;
  return { path: `${project}/src/${folder}/${random.next().toString(36)}-${nth}.${ending}`, kind, sizeBytes };
}

function kindOf(share: number): [ContentKind, string] {
  if (share < 0.65) return ['source', 'ts'];
  return share < 0.88 ? ['mail', 'eml'] : ['noise', 'png'];
}
