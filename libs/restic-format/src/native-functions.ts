import type { FunctionDefinitions } from 'node:ffi';

/**
 * OpenSSL's own functions. Node carries OpenSSL and exports its calls, which can be reached through Node's foreign function
 * interface: in place, without an object for each piece, and with some that node:crypto does not offer. That interface is marked
 * experimental, and a Node may be built without these names, so whoever calls this has another way to the same bytes.
 *
 * A call costs from a fraction of a microsecond (one buffer) to several (four arguments and more): few calls for much work.
 */
/** The functions of these names; undefined when one of them is not to be had. Keep the result: a look-up takes a while. */
export function loadNativeFunctions<const Definitions extends FunctionDefinitions>(definitions: Definitions) {
  const ffi = process.getBuiltinModule('node:ffi');
  if (ffi === undefined) return undefined;
  try {
    return ffi.dlopen(null, definitions).functions;
  } catch (error) {
    // A Node that was built without these names.
    if (error instanceof Error) return undefined;
    throw error;
  }
}

/** Where `bytes` lie in the process. Valid as long as they live, since a memory of fixed size is never moved. */
export function addressOf(bytes: Uint8Array<ArrayBuffer>): bigint {
  return process.getBuiltinModule('node:ffi').getRawPointer(bytes);
}
