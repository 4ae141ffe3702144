import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { RandomStream } from './random-stream.ts';

const filesPerFolder = 500;
const foldersPerFolder = 50;
/** As in a spool, a cache or a mail store: the file says that it is there, or a line. */
const emptyShare = 0.6;
const longestBytes = 200;

/** A tree with many files, mostly empty, the others tiny; one that a former run made is taken. Returns its path. */
export function makeManyFiles(folder: string, fileCount: number): string {
  const tree = join(folder, 'tree');
  const stampPath = join(folder, 'stamp');
  if (existsSync(stampPath)) return tree;
  rmSync(folder, { recursive: true, force: true });
  const random = new RandomStream(`many files ${fileCount}`);
  for (let first = 0; first < fileCount; first += filesPerFolder) {
    const nth = first / filesPerFolder;
    const path = join(tree, `shelf-${Math.floor(nth / foldersPerFolder)}`, `box-${nth % foldersPerFolder}`);
    mkdirSync(path, { recursive: true });
    for (let file = first; file < Math.min(first + filesPerFolder, fileCount); file++) {
      const sizeBytes = random.fraction() < emptyShare ? 0 : 1 + random.below(longestBytes);
      writeFileSync(
        join(path, `item-${random.next().toString(36)}-${file}`),
        sizeBytes === 0 ? '' : `${file} `.repeat(sizeBytes).slice(0, sizeBytes),
      );
    }
  }
  writeFileSync(stampPath, '');
  return tree;
}
