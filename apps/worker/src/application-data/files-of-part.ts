import type { SnapshotFiles } from '@holdfast/engine/snapshot-files';
import { applicationFolder } from '@holdfast/sources/application-data/application-source';

/** The files of one part of an application's backup, as if they were all of the backup. Errors: those of the files. */
export function filesOfPart(files: SnapshotFiles, part: string): SnapshotFiles {
  const place = (path: string): string => `${applicationFolder}/${part}${path === '/' ? '' : path}`;
  return {
    list: (path) => files.list(place(path)),
    read: (path, fromByte) => files.read(place(path), fromByte),
    open: (path) => files.open(place(path)),
  };
}
