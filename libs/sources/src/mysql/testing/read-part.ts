import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Part } from '../../application-data/part.ts';
import { readWhole, walk } from '../../testing/source-contract.ts';

/** All files of a part, as a backup reads them: its moment, then every file in the order of the listings. Below `folder`. */
export async function writePart(part: Part, folder: string): Promise<string[]> {
  await part.takeMoment(new AbortController().signal);
  const files = [...(await walk(part.source))].filter(([, node]) => node.type === 'file').map(([path]) => path);
  // All are begun at once, as by the engine, and read as they come.
  await Promise.all(
    files.map(async (path) => {
      const bytes = await readWhole(part.source, path, 100_000);
      await mkdir(dirname(join(folder, path)), { recursive: true });
      await writeFile(join(folder, path), bytes);
    }),
  );
  return files;
}
