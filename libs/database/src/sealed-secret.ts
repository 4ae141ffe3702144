import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';
import { HoldfastError } from '@holdfast/errors/holdfast-error';

/**
 * Secrets at rest: AES-256-GCM under the service's master key.
 *
 *   v1.<base64url of: nonce (12 bytes) · tag (16) · ciphertext>
 *
 * `context` says where the secret belongs (`repositories.sealedPassword:<what names the row>`) and is authenticated: a
 * ciphertext that was copied into another row does not open there.
 */
const formatVersion = 'v1';
const keyBytes = 32;
const nonceBytes = 12;
const tagBytes = 16;

export interface MasterKey {
  readonly bytes: Uint8Array;
}

/** Reads HOLDFAST_MASTER_KEY: base64 of 32 bytes. Code: configuration_invalid. */
export function parseMasterKey(base64: string): MasterKey {
  const bytes = Buffer.from(base64, 'base64');
  if (bytes.length !== keyBytes || bytes.toString('base64').replaceAll('=', '') !== base64.trim().replaceAll('=', '')) {
    throw new HoldfastError('configuration_invalid', 'HOLDFAST_MASTER_KEY is not the base64 of 32 bytes', {
      hint: 'make one with `openssl rand -base64 32` and keep a copy: without it no sealed secret can be read',
    });
  }
  return { bytes };
}

/** Seals `plaintext`, which may be empty. Two seals of the same text differ. */
export function seal(key: MasterKey, context: string, plaintext: string, random: (sizeBytes: number) => Uint8Array = randomBytes): string {
  const nonce = random(nonceBytes);
  const cipher = createCipheriv('aes-256-gcm', key.bytes, nonce);
  cipher.setAAD(Buffer.from(context, 'utf8'));
  const ciphertext = Buffer.concat([cipher.update(plaintext, 'utf8'), cipher.final()]);
  return `${formatVersion}.${Buffer.concat([nonce, cipher.getAuthTag(), ciphertext]).toString('base64url')}`;
}

/** Opens what `seal` made under the same key and context. Code: secret_unreadable, for another key, another place and damage alike. */
export function unseal(key: MasterKey, context: string, sealed: string): string {
  const [version, body, ...rest] = sealed.split('.');
  const bytes = Buffer.from(body ?? '', 'base64url');
  if (version !== formatVersion || rest.length > 0 || bytes.length < nonceBytes + tagBytes) throw unreadable(context);
  const decipher = createDecipheriv('aes-256-gcm', key.bytes, bytes.subarray(0, nonceBytes), { authTagLength: tagBytes });
  decipher.setAAD(Buffer.from(context, 'utf8'));
  decipher.setAuthTag(bytes.subarray(nonceBytes, nonceBytes + tagBytes));
  const opened = decipher.update(bytes.subarray(nonceBytes + tagBytes));
  try {
    return Buffer.concat([opened, decipher.final()]).toString('utf8');
  } catch {
    // OpenSSL says no more than that the tag does not fit, and what was deciphered so far must not get out.
    throw unreadable(context);
  }
}

function unreadable(context: string): HoldfastError {
  return new HoldfastError('secret_unreadable', `the sealed secret ${context} cannot be opened`, { context: { secret: context } });
}
