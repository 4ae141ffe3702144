import { z } from 'zod';
import type { RemoteAddress } from './remote-options.ts';

/** A folder at a server to which a user logs in, as SFTP and FTP have it. */

const maxUserLength = 256;
/** Stands for the folder in which a session begins; a part of a path with this name is written otherwise. */
const homePart = '~';

/** The name with which a session begins. */
export const userSchema = z
  .string()
  .min(1)
  .max(maxUserLength)
  // oxlint-disable-next-line no-control-regex -- line ends would end a command of FTP, and no name of a user has any of them
  .regex(/^[^\0-\x1f\x7f]+$/u, 'must be without control characters');

/**
 * `sftp:user@host:port/path`, and `sftp:user@host:port/~/path` for one below the folder in which the user's session begins. A server may
 * show each user another tree, so two users' places are never the same.
 */
export function folderLocation(kind: string, { host, port }: RemoteAddress, user: string, path: string): string {
  const parts = path.split('/').filter((part) => part !== '');
  const escaped = parts.map((part) => part.replaceAll('%', '%25').replace(/^~$/u, '%7E'));
  const below = [...(path.startsWith('/') ? [] : [homePart]), ...escaped].map((part) => `/${part}`).join('');
  return `${kind}:${encodeURIComponent(user)}@${host.includes(':') ? `[${host}]` : host}:${String(port)}${below}`;
}

/** One spelling for one host: lower case, addresses in their short form, no dot at the end. */
export function canonicalHost(host: string): string {
  const url = `http://${host.includes(':') ? `[${host}]` : host}/`;
  const hostname = URL.canParse(url) ? new URL(url).hostname : host;
  return hostname
    .toLowerCase()
    .replaceAll(/^\[|\]$/gu, '')
    .replace(/\.$/u, '');
}
