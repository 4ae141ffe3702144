import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { openRepository } from '../../libs/engine/src/repository.ts';
import { encodeIndexFile, splitIndex, type IndexedPack } from '../../libs/restic-format/src/index-file.ts';
import { indexName } from '../../libs/restic-format/src/layout.ts';
import { hashOf } from '../../libs/restic-format/src/object-id.ts';
import { openLocalStorage } from '../../libs/storage/src/local/local-storage.ts';
import { benchPassword } from './backup-tool.ts';
import { measure } from '../bench/measured-run.ts';
import { createNoise, RandomStream } from './random-stream.ts';
import { formatNumber, formatTable } from '../bench/report-table.ts';
import { toolNamed, type BenchContext, type ScenarioReport } from './scenario.ts';

const blobCounts = { full: 5_000_000, quick: 500_000 } as const;
/** At most, of what stays in memory. */
const bytesPerBlobBar = 80;
const blobsPerPack = 250;
/** Of one index file and the next; splitIndex sees to the size of each. */
const packsAtATime = 1_000;

/** Opens an index of 5 million blobs, made up: no pack of it exists. */
export async function runIndex(context: BenchContext): Promise<ScenarioReport> {
  const { options, work, say, signal } = context;
  const blobCount = blobCounts[options.quick ? 'quick' : 'full'];
  const folder = join(work.path, `index-${blobCount}`);
  if (!existsSync(join(folder, 'stamp'))) {
    say(`making an index of ${blobCount} blobs`);
    rmSync(folder, { recursive: true, force: true });
    await toolNamed(context, 'holdfast')?.makeRepository(join(folder, 'repository'));
    await writeIndex(join(folder, 'repository'), blobCount);
    writeFileSync(join(folder, 'stamp'), '');
  }
  const resultPath = join(work.run, 'index.json');
  const args = ['--expose-gc', join(import.meta.dirname, 'index-process.ts'), join(folder, 'repository'), resultPath];
  const env = { RESTIC_PASSWORD: benchPassword, NODE_NO_WARNINGS: '1' };
  const cost = await measure({ program: process.execPath, args, env }, { folder: work.run, signal });
  const opened = JSON.parse(readFileSync(resultPath, 'utf8')) as { blobCount: number; heldBytes: number; openMs: number };
  if (opened.blobCount !== blobCount) throw new Error(`the index has ${opened.blobCount} blobs instead of ${blobCount}`);
  const bytesPerBlob = opened.heldBytes / blobCount;
  const row = [
    'open the index',
    'holdfast',
    String(blobCount),
    formatNumber(opened.openMs / 1000),
    formatNumber(opened.heldBytes / 1e6),
    `${bytesPerBlob.toFixed(1)} (≤ ${bytesPerBlobBar} ${bytesPerBlob <= bytesPerBlobBar ? 'ok' : 'no'})`,
    formatNumber(cost.peakRssBytes / 1e6),
  ];
  const headers = ['step', 'tool', 'blobs', 'wall s', 'held MB', 'bytes a blob', 'peak RSS MB'];
  const notes = ['held: resident memory after a collection, less the same before the index was opened; the peak is of the whole process'];
  return { table: formatTable(headers, [row]), notes, json: { ...opened, bytesPerBlob, bytesPerBlobBar, cost } };
}

async function writeIndex(path: string, blobCount: number): Promise<void> {
  await using repository = await openRepository({ storage: await openLocalStorage({ path }), password: benchPassword });
  const random = new RandomStream('index');
  const nextId = createIdMaker();
  for (let made = 0; made < blobCount;) {
    const packs: IndexedPack[] = [];
    for (; packs.length < packsAtATime && made < blobCount; made += blobsPerPack) packs.push(makeUpPack(random, nextId));
    for (const part of splitIndex(packs)) {
      const bytes = encodeIndexFile({ packs: part }, repository.cipher);
      await repository.storage.put(indexName(hashOf(bytes)), bytes);
    }
  }
}

function createIdMaker(): () => string {
  const [noise, id] = [createNoise('ids'), Buffer.alloc(32)];
  return () => {
    noise(id);
    return id.toString('hex');
  };
}

function makeUpPack(random: RandomStream, nextId: () => string): IndexedPack {
  let offset = 0;
  const blobs = Array.from({ length: blobsPerPack }, () => {
    const length = 100 + random.below(100_000);
    const blob = { id: nextId(), type: 'data', offset, length, uncompressedLength: length * 2 } as const;
    offset += length;
    return blob;
  });
  return { id: nextId(), blobs };
}
