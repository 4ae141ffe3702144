import { userInfo } from 'node:os';

/** As whom this process runs: what is written into locks, keys and snapshots. */
export interface ProcessUser {
  /** Of the user table, else `uid 12345`. */
  readonly username: string;
  readonly uid: number;
  readonly gid: number;
}

/**
 * The user of this process. A container may run under any number, which the user table then does not have, and Node.js fails where that is
 * asked for a name. restic leaves the name and both numbers out of a lock in that case; somebody who reads "locked by" is helped more by the number.
 */
export function processUser(): ProcessUser {
  try {
    const { username, uid, gid } = userInfo();
    return { username, uid, gid };
  } catch (error) {
    const [uid, gid] = [process.geteuid?.(), process.getegid?.()];
    if (uid === undefined || gid === undefined) throw error;
    return { username: `uid ${uid}`, uid, gid };
  }
}
