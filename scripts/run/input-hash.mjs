// Hashes of what an installation and a generated client are made from; equal hashes mean that there is nothing to do.
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

const workspaceFolders = ['apps', 'libs', 'tools'];
const rootFiles = ['package.json', 'pnpm-lock.yaml', 'pnpm-workspace.yaml', '.npmrc'];

/** Every file that decides what an installation contains, relative to the root, in a fixed order. */
export function installInputs(root) {
  const manifests = workspaceFolders.flatMap((folder) =>
    existsSync(join(root, folder)) ? readdirSync(join(root, folder)).map((name) => `${folder}/${name}/package.json`) : [],
  );
  return [...rootFiles, ...manifests].filter((path) => existsSync(join(root, path))).toSorted((a, b) => (a < b ? -1 : 1));
}

/** SHA-256 over names and bytes of the files, and over `salt` (what else decides the outcome, such as the platform). */
export function hashFiles(root, paths, salt) {
  const hash = createHash('sha256').update(`${salt}\0`);
  for (const path of paths) {
    const bytes = readFileSync(join(root, path));
    hash.update(`${path}\0${bytes.length}\0`).update(bytes);
  }
  return hash.digest('hex');
}

/** The hash that a former run left, or undefined. */
export function readStamp(path) {
  try {
    return readFileSync(path, 'utf8').trim();
  } catch (error) {
    if (error.code === 'ENOENT' || error.code === 'ENOTDIR') return undefined;
    throw error;
  }
}

export function writeStamp(path, hash) {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, `${hash}\n`);
}
