import type { OpenChunkInspector } from '../archive-stream/chunk-inspection.ts';

/**
 * Tells the subject's first word and the sum of the chunk's bytes. A subject of 13 is refused.
 *
 * @public loaded by its URL
 */
export const openChunkInspector: OpenChunkInspector = () => ({
  inspect(chunk, [subject = 0]) {
    if (subject === 13) throw new Error('13 is not inspected');
    return Uint32Array.of(
      subject,
      chunk.reduce((sum, byte) => sum + byte, 0),
    );
  },
});

export const sumInspectorModule = new URL(import.meta.url);
