// A lock file that names its process, so that a lock left behind by a killed process is known for what it is.
// Content: JSON { pid, startedAt }; `startedAt` tells a process from a later one that was given the same pid.
import { execFileSync } from 'node:child_process';
import { linkSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { randomUUID } from 'node:crypto';

const pollIntervalMs = 200;

/** When a process started, in a form that only compares equal; undefined when there is no such process. */
export function processStartedAt(pid) {
  try {
    if (process.platform === 'linux') {
      // The command's name, in parentheses, may hold spaces: count the fields behind it. The start is field 22.
      const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
      const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
      return fields[0] === 'Z' ? undefined : fields[19];
    }
    return execFileSync('ps', ['-o', 'lstart=', '-p', String(pid)], { encoding: 'utf8' }).trim() || undefined;
  } catch {
    return undefined; // both ways fail exactly when the process is gone
  }
}

function readHolder(path) {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if (error.code === 'ENOENT') return undefined;
    throw error;
  }
}

function isAlive(text) {
  try {
    const holder = JSON.parse(text);
    const startedAt = processStartedAt(holder.pid);
    return startedAt !== undefined && startedAt === holder.startedAt;
  } catch {
    return false; // not ours or torn: nobody holds it
  }
}

/** Creates the lock whole or not at all; false when the file is there. */
function create(path) {
  const temporary = `${path}.${randomUUID()}`;
  writeFileSync(temporary, JSON.stringify({ pid: process.pid, startedAt: processStartedAt(process.pid) }));
  try {
    linkSync(temporary, path);
    return true;
  } catch (error) {
    if (error.code === 'EEXIST') return false;
    throw error;
  } finally {
    rmSync(temporary, { force: true });
  }
}

/** Moves a dead process's lock aside; when another process was faster and the lock is now a live one, gives it back. */
function takeAway(path) {
  const aside = `${path}.${randomUUID()}`;
  try {
    renameSync(path, aside);
    if (isAlive(readHolder(aside) ?? '')) linkSync(aside, path);
  } catch (error) {
    if (error.code !== 'ENOENT' && error.code !== 'EEXIST') throw error;
  } finally {
    rmSync(aside, { force: true });
  }
}

/** Waits for the lock and returns the function that releases it. `onWait(pid)` is called once when another process holds it. */
export async function acquireProcessLock(path, onWait) {
  let told = false;
  while (!create(path)) {
    const holder = readHolder(path);
    if (holder === undefined) continue;
    if (!isAlive(holder)) {
      takeAway(path);
      continue;
    }
    if (!told) onWait(JSON.parse(holder).pid);
    told = true;
    await new Promise((resolve) => setTimeout(resolve, pollIntervalMs));
  }
  return () => rmSync(path, { force: true });
}
