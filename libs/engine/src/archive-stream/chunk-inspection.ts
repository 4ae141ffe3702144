import { invariant } from '@holdfast/errors/invariant';

/**
 * Something that looks at the chunks of a stream where they are stored, while they are in the processor's cache: to check what only the
 * stream's sender knows of. What it looks for and what it finds are words, whose meaning is between the sender and the module.
 */
export interface ChunkInspection {
  /** URL of the module that exports `openChunkInspector`; each thread imports it. */
  readonly module: URL;
}

/** What is to be known of a file. The same object for all chunks of one. */
export type InspectionSubject = Uint32Array<ArrayBuffer>;

/** One a thread. */
export interface ChunkInspector {
  /** The bytes are not to be kept nor changed. What it throws fails the stream. */
  inspect(chunk: Uint8Array, subject: InspectionSubject): Uint32Array<ArrayBuffer>;
}

/** What the module exports. */
export type OpenChunkInspector = () => ChunkInspector;

/** A chunk that was stored, or that the repository had. */
export interface InspectedChunk {
  readonly sizeBytes: number;
  readonly report: Uint32Array;
}

/** `module` is the URL. */
export async function loadChunkInspector(module: string): Promise<ChunkInspector> {
  const loaded: { readonly openChunkInspector: OpenChunkInspector } = await import(module);
  return loaded.openChunkInspector();
}

/** Null for a chunk that is not to be inspected. */
export function inspectChunk(inspector: ChunkInspector | null, chunk: Uint8Array, subject: InspectionSubject | null): Uint32Array | null {
  if (subject === null) return null;
  invariant(inspector !== null, 'a chunk is to be inspected, and the stream was opened without an inspection');
  return inspector.inspect(chunk, subject);
}
