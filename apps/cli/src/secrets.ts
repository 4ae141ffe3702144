import { chmodSync, linkSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { randomBytes, randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { errnoCode } from '@holdfast/errors/errno-code';
import { HoldfastError } from '@holdfast/errors/holdfast-error';

/**
 * The secrets of a machine that nobody configured: one file each, mode 0600, in a folder of mode 0700, made once and then only
 * read. Losing the master key loses every sealed repository password, so a file is never written over.
 */
export interface LocalSecrets {
  /** 32 bytes in base64. */
  readonly masterKey: string;
  readonly jwtSecret: string;
}

const secretBytes = 32;
const folderMode = 0o700;
const fileMode = 0o600;
const othersModeBits = 0o077;

/** Makes the state folder, or takes away the rights that others have to it. Codes: target_not_writable. */
export function makeStateFolder(folder: string): void {
  try {
    mkdirSync(folder, { recursive: true, mode: folderMode });
    if ((statSync(folder).mode & othersModeBits) !== 0) chmodSync(folder, folderMode);
  } catch (error) {
    throw new HoldfastError('target_not_writable', `the folder ${folder} cannot be made (${errnoCode(error) ?? 'unknown'})`, {
      hint: 'give the user who starts holdfast the right to write there, or choose another folder with HOLDFAST_STATE_DIR',
      cause: error,
    });
  }
}

/**
 * Reads the secrets below `folder`, and makes those that are not there yet. Codes: secret_unreadable when a file is empty or
 * cannot be read, target_not_writable.
 */
export function loadSecrets(folder: string): LocalSecrets {
  return {
    masterKey: loadSecret(join(folder, 'master-key'), () => randomBytes(secretBytes).toString('base64')),
    jwtSecret: loadSecret(join(folder, 'jwt-secret'), () => randomBytes(secretBytes).toString('base64url')),
  };
}

/**
 * Puts a secret that is known in its place, where there is none yet. Codes: conflict, when there is another one; target_not_writable.
 */
export function placeMasterKey(folder: string, masterKey: string): void {
  const path = join(folder, 'master-key');
  if (loadSecret(path, () => masterKey) === masterKey) return;
  throw new HoldfastError('conflict', `${path} holds another key`, { hint: 'name another folder' });
}

/** The secret of a file that exists, or undefined: for commands that must not make one. */
export function readSecret(path: string): string | undefined {
  let text: string;
  try {
    text = readFileSync(path, 'utf8').trim();
  } catch (error) {
    if (errnoCode(error) === 'ENOENT') return undefined;
    throw unreadable(path, `it cannot be read (${errnoCode(error) ?? 'unknown'})`, error);
  }
  if (text === '') throw unreadable(path, 'it is empty');
  return text;
}

function loadSecret(path: string, make: () => string): string {
  const existing = readSecret(path);
  if (existing !== undefined) return existing;
  // Linked into place whole, so that no other process reads half a secret, and never over one that is there.
  const temporary = `${path}.${randomUUID()}`;
  try {
    writeFileSync(temporary, `${make()}\n`, { mode: fileMode, flag: 'wx', flush: true });
    linkSync(temporary, path);
  } catch (error) {
    if (errnoCode(error) !== 'EEXIST') {
      throw new HoldfastError('target_not_writable', `the secret file ${path} cannot be written (${errnoCode(error) ?? 'unknown'})`, {
        cause: error,
      });
    }
  } finally {
    rmSync(temporary, { force: true });
  }
  const written = readSecret(path);
  if (written === undefined) throw unreadable(path, 'it vanished');
  return written;
}

function unreadable(path: string, reason: string, cause?: unknown): HoldfastError {
  return new HoldfastError('secret_unreadable', `the secret file ${path} is of no use: ${reason}`, {
    hint: 'put the former file back; without it what it sealed cannot be read',
    cause,
  });
}
