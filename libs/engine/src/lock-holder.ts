/** Who holds a lock: what restic shows of it. */
export interface LockHolder {
  readonly hostname: string;
  readonly username: string;
  readonly pid: number;
  readonly uid?: number;
  readonly gid?: number;
  /** When the lock was taken or last refreshed. */
  readonly since: Date;
}
