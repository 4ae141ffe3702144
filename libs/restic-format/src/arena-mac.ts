import { macKeyAddress, macPadAddress, macTagAddress } from './kernels/kernels.ts';
import type { Arena } from './arena.ts';
import { loadNativeFunctions } from './native-functions.ts';

/** Poly1305 of pieces of an arena. Short ones go through the kernels, long ones through OpenSSL's own calls where they are to be had. */
export interface ArenaMac {
  /** Leaves the tag of [at, at + sizeBytes) at macTagAddress. The 16 bytes that are added to it, of the nonce, are at macPadAddress. */
  compute(at: number, sizeBytes: number): void;
}

/**
 * From here on OpenSSL is faster: it takes a fifth of the kernels' time for a byte, and three calls that cost as much as these bytes.
 */
const minNativeBytes = 4 * 1024;

const keyBytes = 16;
const tagBytes = 16;

const definitions = {
  Poly1305_ctx_size: { arguments: [], return: 'u64' },
  Poly1305_Init: { arguments: ['buffer', 'buffer'], return: 'void' },
  Poly1305_Update: { arguments: ['buffer', 'buffer', 'u64'], return: 'void' },
  Poly1305_Final: { arguments: ['buffer', 'buffer'], return: 'void' },
} as const;

const load = () => loadNativeFunctions(definitions);
let loaded: ReturnType<typeof load> | 'not-tried' = 'not-tried';

/** Under the key r, of 16 bytes. `options.usePublicCall`: for the test of it. */
export function createArenaMac({ kernels, memory }: Arena, r: Uint8Array, options: { usePublicCall?: boolean } = {}): ArenaMac {
  memory.set(r, macKeyAddress);
  kernels.macSetKey();
  const inKernels = (at: number, sizeBytes: number): void => {
    kernels.macBegin();
    const wholeBytes = sizeBytes & ~15;
    kernels.macUpdate(at, wholeBytes);
    kernels.macEnd(at + wholeBytes, sizeBytes - wholeBytes);
  };
  const native = options.usePublicCall === true ? undefined : openNative(memory);
  if (native === undefined || !givesTheSame(memory, inKernels, native)) return { compute: inKernels };
  return { compute: (at, sizeBytes) => (sizeBytes < minNativeBytes ? inKernels(at, sizeBytes) : native(at, sizeBytes)) };
}

function openNative(memory: Uint8Array<ArrayBuffer>): ArenaMac['compute'] | undefined {
  if (loaded === 'not-tried') loaded = load();
  const functions = loaded;
  if (functions === undefined) return undefined;
  const context = new Uint8Array(Number(functions.Poly1305_ctx_size()));
  // r and s lie one behind the other.
  const key = memory.subarray(macKeyAddress, macPadAddress + keyBytes);
  const tag = memory.subarray(macTagAddress, macTagAddress + tagBytes);
  return (at, sizeBytes) => {
    const bytes = memory.subarray(at, at + sizeBytes);
    functions.Poly1305_Init(context, key);
    functions.Poly1305_Update(context, bytes, BigInt(bytes.length));
    functions.Poly1305_Final(context, tag);
  };
}

/** These names are nobody's promise: each arena asks them once for a tag that it knows. */
function givesTheSame(memory: Uint8Array, inKernels: ArenaMac['compute'], native: ArenaMac['compute']): boolean {
  const tagOf = (compute: ArenaMac['compute']): string => {
    compute(0, selfTestBytes);
    return Buffer.from(memory.subarray(macTagAddress, macTagAddress + tagBytes)).toString('hex');
  };
  // Over the kernels' tables and the key: without the tag itself, which changes.
  return tagOf(inKernels) === tagOf(native);
}

/** Up to the key and with some of it. */
const selfTestBytes = macTagAddress - 5;
