import { closeSync, existsSync, fstatSync, mkdirSync, openSync, renameSync, rmSync, writeSync } from 'node:fs';
import { dirname } from 'node:path';

/** Some hundred thousand lines; with the files kept it bounds what the logs of one process can take. */
const logSizeLimitBytes = 16 * 1024 * 1024;
/** The starts and overflows before this one that can still be read: `api.log`, `api.1.log`, … */
const keptCount = 4;

export interface LogFile extends Disposable {
  write(text: string): void;
  close(): void;
}

/**
 * A log that begins anew with every start and whenever it is full; what was there before gets a number. Mode 0600.
 * A full disk must not end what is being logged: lines that cannot be written are lost, and `onError` is told once until it works again.
 */
export function openLogFile(path: string, onError: (error: unknown) => void, maxSizeBytes = logSizeLimitBytes): LogFile {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  let descriptor: number | undefined;
  let sizeBytes = 0;
  let isFailing = false;
  const open = (): number => {
    rotate(path);
    const opened = openSync(path, 'a', 0o600);
    sizeBytes = fstatSync(opened).size;
    return opened;
  };
  const closeDescriptor = (): void => {
    if (descriptor !== undefined) closeSync(descriptor);
    descriptor = undefined;
  };
  let isClosed = false;
  const close = (): void => {
    isClosed = true;
    closeDescriptor();
  };
  descriptor = open();
  return {
    write(text) {
      if (isClosed) return; // A child's last words after the end.
      try {
        if (descriptor === undefined || sizeBytes >= maxSizeBytes) {
          closeDescriptor();
          descriptor = open();
        }
        sizeBytes += writeSync(descriptor, text);
        isFailing = false;
      } catch (error) {
        if (!isFailing) onError(error);
        isFailing = true;
      }
    },
    close,
    [Symbol.dispose]: close,
  };
}

function rotate(path: string): void {
  const numbered = (number: number): string => (number === 0 ? path : path.replace(/(\.log)?$/, `.${number}.log`));
  rmSync(numbered(keptCount), { force: true });
  for (let number = keptCount - 1; number >= 0; number -= 1) {
    if (existsSync(numbered(number))) renameSync(numbered(number), numbered(number + 1));
  }
}
