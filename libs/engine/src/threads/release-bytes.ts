/**
 * Gives memory back at once that nobody reads any more: left to the collector, which looks at what lies outside of its heap only now and
 * then, packs of tens of megabytes stay for several others. The arrays are empty afterwards; they must be all that views their buffers.
 */
export function releaseBytes(arrays: readonly Uint8Array<ArrayBuffer>[]): void {
  for (const { buffer } of arrays) if (!buffer.detached) buffer.transfer(0);
}
