export type CompressionMode = 'off' | 'fastest' | 'auto' | 'better' | 'max';

/** The zstd frame of a blob, or null when it is not smaller (or the mode is off): then it is stored as it is. */
export declare function compressBlob(bytes: Uint8Array, mode: CompressionMode): Uint8Array | null;
/** The plaintext; never more memory than `plainLength`. Errors: repository_damaged. */
export declare function decompressBlob(bytes: Uint8Array, plainLength: number): Uint8Array;
