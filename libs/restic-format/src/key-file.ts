import { scrypt } from 'node:crypto';

import { HoldfastError, isHoldfastError } from '@holdfast/errors/holdfast-error';
import { invariant } from '@holdfast/errors/invariant';

import { createCipher, overheadBytes, type MasterKeys } from './cipher.ts';
import { encodeGoJson } from './go-json.ts';
import { JsonFields, parseJson } from './json-fields.ts';
import type { RandomBytes } from './random-bytes.ts';

/**
 * Key file: the master keys, sealed under keys that scrypt derives from a password (32 bytes encrypt ‖ 16 k ‖ 16 r). Plain JSON in
 * `keys/`: {"created","username","hostname","kdf":"scrypt","N","r","p","salt","data"}. Several of them, each with its own
 * password, can open one repository; changing a password adds one and removes another.
 */

/** scrypt's cost: N blocks (a power of two) of 128·r bytes, p times. */
export interface KdfParameters {
  readonly N: number;
  readonly r: number;
  readonly p: number;
}

/** 32 MiB and about 0.1 s: what scrypt's author proposed for logins, and restic's least. */
export const defaultKdf: KdfParameters = { N: 32_768, r: 8, p: 1 };

/** restic stays below 60 MiB when it chooses parameters. A file that asks for more than this is out to exhaust the memory. */
const maxKdfMemoryBytes = 512 * 1024 * 1024;
/** N·r·p; 128 times the default takes some ten seconds. */
const maxKdfWork = 128 * 32_768 * 8;

const saltBytes = 64;
const derivedBytes = 64;
/** A key file has some 450 bytes. */
const limitBytes = 64 * 1024;

export interface NewKeyFile {
  /** May be empty: restic then opens the repository with --insecure-no-password. */
  readonly password: string;
  readonly masterKeys: MasterKeys;
  readonly created: Date;
  /** For people who list the keys. */
  readonly username: string;
  readonly hostname: string;
  readonly kdf: KdfParameters;
  readonly random: RandomBytes;
}

/** What a key file says in the clear. */
export interface KeyFileInfo {
  /** Nanoseconds since 1970. */
  readonly createdNs: bigint;
  readonly username: string;
  readonly hostname: string;
  readonly kdf: KdfParameters;
}

/** Needs no password. Errors: repository_damaged. */
export function describeKeyFile(bytes: Uint8Array): KeyFileInfo {
  const fields = keyFileFields(bytes);
  return {
    createdNs: fields.timestamp('created').ns,
    username: fields.string('username'),
    hostname: fields.string('hostname'),
    kdf: { N: fields.uint('N'), r: fields.uint('r'), p: fields.uint('p') },
  };
}

/** Whether both open the same repository. */
export function equalMasterKeys(a: MasterKeys, b: MasterKeys): boolean {
  return Buffer.compare(a.encrypt, b.encrypt) === 0 && Buffer.compare(a.macK, b.macK) === 0 && Buffer.compare(a.macR, b.macR) === 0;
}

/** The bytes of a new key file. Errors: internal for parameters that openKeyFile would refuse. */
export async function makeKeyFile(input: NewKeyFile): Promise<Uint8Array> {
  const { masterKeys, kdf, random } = input;
  invariant(kdfProblem(kdf) === null, 'the scrypt parameters are outside the limits');
  const salt = random(saltBytes);
  const master = encodeGoJson({
    mac: { k: toBase64(masterKeys.macK), r: toBase64(masterKeys.macR) },
    encrypt: toBase64(masterKeys.encrypt),
  });
  const cipher = createCipher(await deriveKeys(input.password, salt, kdf), random);
  const json = encodeGoJson({
    created: input.created.toISOString(),
    username: input.username,
    hostname: input.hostname,
    kdf: 'scrypt',
    N: kdf.N,
    r: kdf.r,
    p: kdf.p,
    salt: toBase64(salt),
    data: toBase64(cipher.seal(Buffer.from(master))),
  });
  return Buffer.from(json);
}

/**
 * The master keys, or null when the password is another one (a file whose sealed part is damaged looks the same).
 * Errors: repository_damaged; repository_unsupported for another KDF, or one that costs more than the limits.
 */
export async function openKeyFile(bytes: Uint8Array, password: string): Promise<MasterKeys | null> {
  const fields = keyFileFields(bytes);
  const kdf = { N: fields.uint('N'), r: fields.uint('r'), p: fields.uint('p') };
  const problem = fields.string('kdf') === 'scrypt' ? kdfProblem(kdf) : 'its key derivation is not scrypt';
  if (problem !== null) {
    throw new HoldfastError('repository_unsupported', `a key file cannot be used: ${problem}`, {
      hint: 'add a key with the default parameters with `restic key add`, and remove this one',
    });
  }
  const salt = fields.bytes('salt');
  if (salt.length !== saltBytes) throw fields.damaged('salt', `${saltBytes} bytes`);
  const data = fields.bytes('data');
  if (data.length < overheadBytes) throw fields.damaged('data', 'sealed bytes');
  const plain = openOrNull(await deriveKeys(password, salt, kdf), data);
  return plain && decodeMasterKeys(plain);
}

function keyFileFields(bytes: Uint8Array): JsonFields {
  if (bytes.length > limitBytes) throw new HoldfastError('repository_damaged', `a key file has ${bytes.length} bytes`);
  return new JsonFields(parseJson(bytes, 'a key file'), 'a key file');
}

function openOrNull(keys: MasterKeys, sealed: Uint8Array): Uint8Array | null {
  try {
    return createCipher(keys).open(sealed);
  } catch (error) {
    // The only thing that can be wrong with enough bytes is their MAC, and a wrong password is what it says.
    if (isHoldfastError(error, 'repository_damaged')) return null;
    throw error;
  }
}

function decodeMasterKeys(plain: Uint8Array): MasterKeys {
  const fields = new JsonFields(parseJson(plain, 'the master keys'), 'the master keys');
  const mac = new JsonFields(fields.object('mac'), 'the master keys');
  const keys = { encrypt: fields.bytes('encrypt'), macK: mac.bytes('k'), macR: mac.bytes('r') };
  if (keys.encrypt.length !== 32) throw fields.damaged('encrypt', '32 bytes');
  if (keys.macK.length !== 16 || keys.macR.length !== 16) throw fields.damaged('mac', 'twice 16 bytes');
  return keys;
}

/** Why parameters are not taken, or null. */
function kdfProblem({ N, r, p }: KdfParameters): string | null {
  const isPowerOfTwo = N >= 2 && Number.isInteger(Math.log2(N));
  if (!isPowerOfTwo || r < 1 || p < 1) return `scrypt does not take N ${N}, r ${r}, p ${p}`;
  if (128 * N * r > maxKdfMemoryBytes) return `scrypt would take more than ${maxKdfMemoryBytes} bytes of memory`;
  if (N * r * p > maxKdfWork) return `scrypt would take more than ${maxKdfWork / (N * r)} rounds`;
  return null;
}

/** Runs in the thread pool, so that opening a repository does not stop the event loop. */
async function deriveKeys(password: string, salt: Uint8Array, { N, r, p }: KdfParameters): Promise<MasterKeys> {
  // OpenSSL counts a little more than the blocks themselves.
  const options = { N, r, p, maxmem: 2 * 128 * N * r + 128 * r * p + 1024 * 1024 };
  const derived = await new Promise<Buffer>((resolve, reject) => {
    scrypt(password, salt, derivedBytes, options, (error, key) => (error ? reject(error) : resolve(key)));
  });
  return { encrypt: derived.subarray(0, 32), macK: derived.subarray(32, 48), macR: derived.subarray(48, 64) };
}

const toBase64 = (bytes: Uint8Array): string => Buffer.from(bytes).toString('base64');
