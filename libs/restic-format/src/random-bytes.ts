/** Gives `sizeBytes` unpredictable bytes. The service passes node:crypto's randomBytes, tests a repeatable source. */
export type RandomBytes = (sizeBytes: number) => Uint8Array;
