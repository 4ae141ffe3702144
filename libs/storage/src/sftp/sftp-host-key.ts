import { createHash } from 'node:crypto';
import { z } from 'zod';

/**
 * The keys by which a server is known, as a person gives them: a line as OpenSSH writes it (`ssh-ed25519 AAAA…`, with or without a
 * comment), or the fingerprint that `ssh-keygen -l` prints (`SHA256:…`). All are compared as fingerprints.
 */
const maxHostKeyLength = 2048;
/** The key types that are asked for, best first; SHA-1 signatures (`ssh-rsa`) are not among the algorithms. */
const algorithmsOfType = {
  'ssh-ed25519': ['ssh-ed25519'],
  'ecdsa-sha2-nistp256': ['ecdsa-sha2-nistp256'],
  'ecdsa-sha2-nistp384': ['ecdsa-sha2-nistp384'],
  'ecdsa-sha2-nistp521': ['ecdsa-sha2-nistp521'],
  'ssh-rsa': ['rsa-sha2-512', 'rsa-sha2-256'],
} as const satisfies Record<string, readonly string[]>;

type HostKeyAlgorithm = (typeof algorithmsOfType)[keyof typeof algorithmsOfType][number];

export const hostKeySchema = z
  .string()
  .max(maxHostKeyLength)
  .regex(
    /^(?:SHA256:[A-Za-z0-9+/]{43}=?|(?:ssh-ed25519|ssh-rsa|ecdsa-sha2-nistp(?:256|384|521)) AAAA[A-Za-z0-9+/]{16,}={0,2}(?: [^\n\r]*)?)$/u,
    'must be a line such as `ssh-ed25519 AAAA…`, or a fingerprint such as `SHA256:…`',
  );

/** `SHA256:…` of a key as it goes over the line. */
export function fingerprintOf(key: Uint8Array): string {
  return `SHA256:${createHash('sha256').update(key).digest('base64').replace('=', '')}`;
}

/** The fingerprints that are accepted, of values that hostKeySchema let through. */
export function acceptedFingerprints(hostKeys: readonly string[]): ReadonlySet<string> {
  return new Set(hostKeys.map((key) => (key.startsWith('SHA256:') ? key.replace('=', '') : fingerprintOf(blobOf(key)))));
}

/**
 * What to ask the server for. A server with keys of several types shows the one that is asked for first: with lines, only keys of their
 * types come into question. A fingerprint does not tell its type, so that any may come.
 */
export function hostKeyAlgorithms(hostKeys: readonly string[]): HostKeyAlgorithm[] {
  const types = new Set(hostKeys.map((key) => key.slice(0, key.search(/[ :]/u))));
  const isAnyType = types.has('SHA256');
  return Object.entries(algorithmsOfType).flatMap(([type, algorithms]) => (isAnyType || types.has(type) ? [...algorithms] : []));
}

function blobOf(line: string): Buffer {
  return Buffer.from(line.split(' ')[1] ?? '', 'base64');
}
