import { HoldfastError } from '@holdfast/errors/holdfast-error';
import type { SourceNode } from '@holdfast/sources/source';

/** What a stream says of a file, a folder or anything else. A file's size is what comes of it. */
export type StreamNode = Omit<SourceNode, 'name' | 'sizeBytes'>;

/** A folder of which something has come: itself, or what is in it. */
export interface ReceivedFolder {
  readonly number: number;
  node: StreamNode | undefined;
  readonly folders: Map<string, ReceivedFolder>;
}

/** What a folder gets of which only the contents came. The same each time, or no backup would find its tree in the one before. */
export const untoldFolder: StreamNode = {
  type: 'dir',
  mode: 0o700,
  modifiedNs: 0n,
  accessedNs: 0n,
  changedNs: 0n,
  uid: 0,
  gid: 0,
  inode: 0n,
  deviceId: 0n,
  linkCount: 1n,
};

/** All folders of a stream, by their paths, in whatever order they come. */
export class ReceivedFolders {
  readonly top: ReceivedFolder = { number: 0, node: undefined, folders: new Map() };
  #count = 1;

  /** The folder at `path`, which ends without a slash: the top is ''. Those above are made too. */
  at(path: string): ReceivedFolder {
    let folder = this.top;
    for (const name of path.split('/').slice(1)) {
      let next = folder.folders.get(name);
      if (next === undefined) {
        next = { number: this.#count++, node: undefined, folders: new Map() };
        folder.folders.set(name, next);
      }
      folder = next;
    }
    return folder;
  }
}

/** The folder and the name of an absolute path. Errors: internal for one that is not. */
export function splitPath(path: string): { readonly folder: string; readonly name: string } {
  const [top, ...names] = path.split('/');
  if (top !== '' || names.length === 0 || names.some((name) => name === '' || name === '.' || name === '..'))
    throw new HoldfastError('internal', `a stream has the path ${JSON.stringify(path)}, which is none`);
  const end = path.lastIndexOf('/');
  return { folder: path.slice(0, end), name: path.slice(end + 1) };
}
