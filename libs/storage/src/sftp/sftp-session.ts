import type { FileEntryWithStats, SFTPWrapper, Stats } from 'ssh2';
import type { Answer, SftpConnection } from './sftp-connection.ts';
import { sftpStatus, statusOf } from './sftp-error.ts';

export type SftpHandle = Buffer;

/** What a file system has left, as far as the server tells. */
export interface SftpRoom {
  readonly freeBytes: number;
  /** Undefined where the file system does not count its files. */
  readonly freeFileCount: number | undefined;
}

/** Only the user that we log in as looks into a repository: names and sizes tell something too. */
const fileMode = 0o600;
const folderMode = 0o700;
/** OpenSSH has it so deep that nothing needs more. */
const unsupportedRequest = /does not support this extended request/u;

/**
 * Requests of SFTP version 3 and of OpenSSH's extensions on one channel. They are sent at once and answered in their order, so several may
 * be on their way. Errors are the server's statuses (statusOf) or what the connection was lost by.
 */
export class SftpSession {
  readonly #connection: SftpConnection;
  readonly #sftp: SFTPWrapper;

  constructor(connection: SftpConnection, sftp: SFTPWrapper) {
    this.#connection = connection;
    this.#sftp = sftp;
  }

  get isLost(): boolean {
    return this.#connection.isLost;
  }

  /** In order when nothing is on its way, else at once. */
  end(): void {
    this.#connection.end();
  }

  /** A folder too can be opened for reading, where the server is OpenSSH. */
  openToRead(path: string): Promise<SftpHandle> {
    return this.#wait((answer) => this.#sftp.open(path, 'r', answer));
  }

  /** Fails when the name is taken. */
  create(path: string): Promise<SftpHandle> {
    return this.#wait((answer) => this.#sftp.open(path, 'wx', fileMode, answer));
  }

  close(handle: SftpHandle): Promise<void> {
    return this.#done((answer) => this.#sftp.close(handle, answer));
  }

  /** Nobody waits for it, and whatever it says changes nothing. */
  closeLater(handle: SftpHandle): void {
    this.close(handle).catch(() => undefined);
  }

  /** Fills `into` from the file's `position` on; returns how many bytes came, fewer than there is room or none at the end of the file. */
  read(handle: SftpHandle, into: Buffer, position: number): Promise<number> {
    return this.#wait((answer) => this.#sftp.read(handle, into, 0, into.byteLength, position, answer));
  }

  /** The bytes are copied before it returns its promise. */
  write(handle: SftpHandle, bytes: Buffer, position: number): Promise<void> {
    return this.#done((answer) => this.#sftp.write(handle, bytes, 0, bytes.byteLength, position, answer));
  }

  fstat(handle: SftpHandle): Promise<Stats> {
    return this.#wait((answer) => this.#sftp.fstat(handle, answer));
  }

  /** Of a link itself. */
  lstat(path: string): Promise<Stats> {
    return this.#wait((answer) => this.#sftp.lstat(path, answer));
  }

  stat(path: string): Promise<Stats> {
    return this.#wait((answer) => this.#sftp.stat(path, answer));
  }

  remove(path: string): Promise<void> {
    return this.#done((answer) => this.#sftp.unlink(path, answer));
  }

  makeFolder(path: string): Promise<void> {
    return this.#done((answer) => this.#sftp.mkdir(path, { mode: folderMode }, answer));
  }

  openFolder(path: string): Promise<SftpHandle> {
    return this.#wait((answer) => this.#sftp.opendir(path, answer));
  }

  /** The next entries, without `.` and `..`; undefined behind the last. */
  async readFolder(handle: SftpHandle): Promise<readonly FileEntryWithStats[] | undefined> {
    try {
      return await this.#wait<FileEntryWithStats[]>((answer) => this.#sftp.readdir(handle, answer));
    } catch (error) {
      if (statusOf(error) === sftpStatus.endOfFile) return undefined;
      throw error;
    }
  }

  /** In version 3 of the protocol it fails when the new name is taken; some servers replace what is there. */
  rename(path: string, to: string): Promise<void> {
    return this.#done((answer) => this.#sftp.rename(path, to, answer));
  }

  /** A second name for a file; never replaces what is there. False, and nothing is done, where the server does not know it. */
  link(path: string, to: string): Promise<boolean> {
    return this.#extension((answer) => this.#sftp.ext_openssh_hardlink(path, to, answer));
  }

  /** Makes a file's bytes, or a folder's entries, durable. False, and nothing is done, where the server does not know it. */
  sync(handle: SftpHandle): Promise<boolean> {
    return this.#extension((answer) => this.#sftp.ext_openssh_fsync(handle, answer));
  }

  /** Of the file system that holds `path`; undefined where the server does not tell. */
  async room(path: string): Promise<SftpRoom | undefined> {
    let found: unknown;
    const isKnown = await this.#extension((answer) =>
      this.#sftp.ext_openssh_statvfs(path, (error: Error | undefined, value: unknown) => {
        found = value;
        answer(error);
      }),
    );
    return isKnown ? roomOf(found) : undefined;
  }

  #wait<T>(send: (answer: Answer<T>) => void): Promise<T> {
    return this.#connection.wait(send);
  }

  #done(send: (answer: (error?: Error | null) => void) => void): Promise<void> {
    return this.#connection.wait<void>((answer) => send((error) => answer(error, undefined)));
  }

  /** The library throws before it sends what the server has not announced. */
  async #extension(send: (answer: (error?: Error | null) => void) => void): Promise<boolean> {
    try {
      await this.#done(send);
      return true;
    } catch (error) {
      if (error instanceof Error && unsupportedRequest.test(error.message)) return false;
      throw error;
    }
  }
}

function roomOf(found: unknown): SftpRoom | undefined {
  const of = (field: string): number => {
    const value: unknown = typeof found === 'object' && found !== null ? Reflect.get(found, field) : undefined;
    return typeof value === 'number' ? value : Number.NaN;
  };
  const freeBytes = of('f_bavail') * of('f_frsize');
  if (Number.isNaN(freeBytes)) return undefined;
  return { freeBytes, freeFileCount: of('f_files') > 0 ? of('f_favail') : undefined };
}
