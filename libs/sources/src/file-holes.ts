import { fstatSync } from 'node:fs';
import { errnoCode } from '@holdfast/errors/errno-code';
import { loadSystemCalls } from './system-calls.ts';

/**
 * Where the data of a sparse file lies, by SEEK_DATA of lseek(2): what lies between reads as zeros and need not be read. A system or
 * file system that cannot tell says that all is data.
 */
export interface FileHoles {
  /** The first position from `positionBytes` on that is no hole; the size of the file when there is none. */
  nextData(positionBytes: number): number;
}

/** st_blocks counts in these, whatever the blocks of the file system are. */
const blockBytes = 512;

/** Null for a file that has no holes of `worthBytes` in all, or of which nobody can tell. Its descriptor stays the caller's. */
export function findHoles(descriptor: number, worthBytes: number): FileHoles | null {
  const { size, blocks } = fstatSync(descriptor);
  const calls = loadSystemCalls();
  if (calls === undefined || size - blocks * blockBytes < worthBytes) return null;
  return {
    nextData: (positionBytes) => {
      if (positionBytes >= size) return positionBytes;
      try {
        return calls.findData(descriptor, positionBytes);
      } catch (error) {
        const errno = errnoCode(error);
        if (errno === 'ENXIO') return size;
        // No such question on this file system: read it all.
        if (errno === 'EINVAL' || errno === 'ENOTSUP' || errno === 'EOPNOTSUPP') return positionBytes;
        throw error;
      }
    },
  };
}
