import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';

/** The folder of the bench: data that is kept between runs, and a folder of this run's own that goes with it. */
export interface WorkFolder extends AsyncDisposable {
  readonly path: string;
  readonly run: string;
}

export interface WorkFolderOptions {
  /** Default: below the memory file system, when it has room, else below the temporary folder. */
  readonly dir: string | undefined;
  readonly neededBytes: number;
  readonly say: (text: string) => void;
  readonly signal: AbortSignal;
}

const memoryFileSystem = '/dev/shm';
/** Left for the programs that are measured. */
const spareMemoryBytes = 3e9;
const pollMs = 1_000;

/** Opens the folder, once the bench that is using it has ended: two at a time would measure each other. */
export async function openWorkFolder({ dir, neededBytes, say, signal }: WorkFolderOptions): Promise<WorkFolder> {
  const path = join(dir ?? (hasRoomInMemory(neededBytes) ? memoryFileSystem : tmpdir()), 'holdfast-bench');
  if (dir === undefined && !path.startsWith(memoryFileSystem))
    say(`${memoryFileSystem} has no room for ${Math.round(neededBytes / 1e9)} GB: the disk decides`);
  mkdirSync(path, { recursive: true });
  const lockPath = join(path, 'pid');
  for (let told = false; !tryLock(lockPath); told = true) {
    if (!told) say(`another bench is using ${path}: waiting for its end`);
    await delay(pollMs, undefined, { signal });
  }
  const run = mkdtempSync(join(path, 'run-'));
  return {
    path,
    run,
    [Symbol.asyncDispose]: async () => {
      rmSync(run, { recursive: true, force: true });
      rmSync(lockPath, { force: true });
    },
  };
}

function hasRoomInMemory(neededBytes: number): boolean {
  if (!existsSync(memoryFileSystem)) return false;
  const { bavail, bsize } = statfsSync(memoryFileSystem);
  const availableKiB = Number(/^MemAvailable:\s+(\d+) kB$/m.exec(readFileSync('/proc/meminfo', 'utf8'))?.[1] ?? 0);
  return bavail * bsize > neededBytes && availableKiB * 1024 > neededBytes + spareMemoryBytes;
}

function tryLock(path: string): boolean {
  try {
    writeFileSync(path, String(process.pid), { flag: 'wx' });
    return true;
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'EEXIST')) throw error;
  }
  if (!existsSync(path)) return false;
  const pid = readFileSync(path, 'utf8');
  // Of one that was killed.
  if (pid !== '' && !existsSync(`/proc/${pid}`)) rmSync(path, { force: true });
  return false;
}
