import {
  closeSync,
  existsSync,
  lutimesSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { changedFiles, planFiles, planVersion, type DataScale, type PlannedFile } from './data-plan.ts';
import { makeContent } from './text-maker.ts';

/** The data of a scale on disk: `tree` is what is backed up, `stamp` beside it says that it is whole. */
export interface DataFolder {
  readonly tree: string;
  readonly fileCount: number;
  readonly smallFileCount: number;
  readonly sizeBytes: number;
  readonly changedCount: number;
  /** Puts every file that changes into its state `variant`; 0 is the one in which it was made. */
  setVariant(variant: number): void;
}

/** Fixed, so that two runs back up the same trees: 2026-01-01. */
const firstModifiedS = 1_767_225_600;

/** Makes the data below `folder`, or takes what a former run made. The tree is in variant 0 then. */
export function openDataFolder(folder: string, scale: DataScale, say: (text: string) => void): DataFolder {
  const files = planFiles(scale);
  const tree = join(folder, 'tree');
  const stampPath = join(folder, 'stamp');
  const stamp = JSON.stringify({ planVersion, scale });
  const changing = changedFiles(scale);
  const data: DataFolder = {
    tree,
    fileCount: files.length,
    smallFileCount: scale.smallFileCount,
    sizeBytes: files.reduce((sum, file) => sum + file.sizeBytes, 0),
    changedCount: changing.length,
    setVariant: (variant) => {
      for (const file of changing) writePlannedFile(tree, file, variant);
    },
  };
  if (existsSync(stampPath) && readFileSync(stampPath, 'utf8') === stamp) {
    // A run that was ended in the middle leaves the changed files.
    data.setVariant(0);
    return data;
  }
  say(`making ${files.length} files, ${Math.round(data.sizeBytes / 1e6)} MB, in ${tree}`);
  rmSync(folder, { recursive: true, force: true });
  for (const folderPath of new Set(files.map(({ path }) => dirname(path)))) mkdirSync(join(tree, folderPath), { recursive: true });
  for (const file of files) writePlannedFile(tree, file, 0);
  writeLinks(tree, files);
  setFolderTimes(tree);
  writeFileSync(stampPath, stamp);
  return data;
}

function writePlannedFile(tree: string, file: PlannedFile, variant: number): void {
  const path = join(tree, file.path);
  const descriptor = openSync(path, 'w');
  for (const piece of makeContent(file.kind, file.path, file.sizeBytes)) writeSync(descriptor, piece);
  if (variant > 0) edit(descriptor, file, variant);
  closeSync(descriptor);
  // A change has the time at which it is made; what was there before has one that is the same in every run.
  if (variant === 0) utimesSync(path, firstModifiedS, firstModifiedS + (file.sizeBytes % 10_000_000));
}

/** What an editor leaves: other words in the middle, and some more at the end. */
function edit(descriptor: number, file: PlannedFile, variant: number): void {
  const seed = `${file.path} ${variant}`;
  for (const piece of makeContent('source', seed, Math.min(300, file.sizeBytes))) {
    writeSync(descriptor, piece, 0, piece.length, Math.floor((file.sizeBytes - piece.length) / 2));
  }
  for (const piece of makeContent('source', `${seed} more`, 100 + variant)) writeSync(descriptor, piece, 0, piece.length, file.sizeBytes);
}

/** Writing into a folder changed its time. */
function setFolderTimes(tree: string): void {
  const folders = readdirSync(tree, { recursive: true, withFileTypes: true }).filter((entry) => entry.isDirectory());
  for (const path of [tree, ...folders.map((entry) => join(entry.parentPath, entry.name))])
    utimesSync(path, firstModifiedS, firstModifiedS);
}

/** A symlink in every tenth folder or so. */
function writeLinks(tree: string, files: readonly PlannedFile[]): void {
  for (const [nth, file] of files.entries()) {
    if (nth % 200 !== 0) continue;
    const path = join(tree, dirname(file.path), 'latest');
    symlinkSync(file.path.slice(file.path.lastIndexOf('/') + 1), path);
    lutimesSync(path, firstModifiedS, firstModifiedS);
  }
}
