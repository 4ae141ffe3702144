/**
 * File names are bytes on disk and in the format, strings in between. A byte that is no part of valid UTF-8 stands in the string as
 * the lone surrogate U+DC00 + byte (U+DC80…U+DCFF), which no valid UTF-8 decodes to: so nothing is lost either way.
 */
export declare function nameOfBytes(bytes: Uint8Array): string;
export declare function bytesOfName(name: string): Uint8Array;
/** Orders names by their bytes, as trees are sorted: negative, zero, positive. */
export declare function compareNames(a: string, b: string): number;
