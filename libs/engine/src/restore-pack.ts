import type { TargetWarning } from '@holdfast/sources/target';
import type { TargetWriter } from '@holdfast/sources/target-writer';
import type { OpenObject } from '@holdfast/storage/local-object';
import { segmentBytes, type BlobUnpacker } from './blob-unpacker.ts';
import { isDamage } from './damage.ts';
import { joinPath } from './source-node.ts';
import { readBlobUses, type BlobUse, type FilePartUse, type WholeFileUse } from './restore-uses.ts';

/** The uses of one pack's blobs, or files that are empty and need none. */
export interface PackToRestore {
  /** Null when there are only empty files. */
  readonly packId: string | null;
  /** See restore-uses.ts. */
  readonly uses: Uint8Array<ArrayBuffer>;
  /** Paths of the folders that whole files go into, by their numbers. */
  readonly folders: readonly string[];
}

export interface RestoredPack {
  readonly filesDone: number;
  readonly bytesDone: number;
  /** Files that are not there, or not whole. */
  readonly failed: readonly TargetWarning[];
  /** Of open files: numbers, and what is done of each. */
  readonly parts: readonly RestoredParts[];
  readonly warnings: readonly TargetWarning[];
}

export interface RestoredParts {
  readonly fileNumber: number;
  readonly partCount: number;
  /** Why some of them could not be had. */
  readonly failure?: string;
}

export interface RestoreTools {
  readonly unpacker: BlobUnpacker;
  readonly writer: TargetWriter;
  readonly throwIfAborted: () => void;
}

/** Reading on over a gap is cheaper than asking again. */
export const maxGapBytes = 64 * 1024;

/**
 * Reads what is wanted of a pack, each byte once, and writes it into its files; each blob is checked against its hash before. Damage
 * fails the files that it hits. Errors: those of the target and, but for damage, of the storage.
 */
export function restorePack(pack: PackToRestore, openObject: () => OpenObject, tools: RestoreTools): RestoredPack {
  return new PackRestore(pack, tools).run(openObject);
}

class PackRestore {
  readonly #pack: PackToRestore;
  readonly #tools: RestoreTools;
  readonly #failed: TargetWarning[] = [];
  readonly #parts = new Map<number, { partCount: number; failure?: string }>();
  #filesDone = 0;
  #bytesDone = 0;

  constructor(pack: PackToRestore, tools: RestoreTools) {
    this.#pack = pack;
    this.#tools = tools;
  }

  run(openObject: () => OpenObject): RestoredPack {
    const uses = readBlobUses(this.#pack.uses);
    if (this.#pack.packId === null) for (const use of uses) this.#write(use, new Uint8Array(0));
    else this.#restoreBlobs(uses, openObject);
    return {
      filesDone: this.#filesDone,
      bytesDone: this.#bytesDone,
      failed: this.#failed,
      parts: [...this.#parts].map(([fileNumber, parts]) => ({ fileNumber, ...parts })),
      warnings: this.#tools.writer.takeWarnings(),
    };
  }

  #restoreBlobs(uses: readonly BlobUse[], openObject: () => OpenObject): void {
    let object: OpenObject;
    try {
      object = openObject();
    } catch (error) {
      return this.#failAll(uses, error);
    }
    try {
      for (let at = 0; at < uses.length;) at = this.#restoreSegment(object, uses, at);
    } finally {
      object.close();
    }
  }

  /** Reads on from the use at `at` as far as a segment reaches; gives the first use behind it. */
  #restoreSegment(object: OpenObject, uses: readonly BlobUse[], at: number): number {
    const { unpacker } = this.#tools;
    const start = uses[at]?.offset ?? 0;
    const { end, behind } = segmentOf(uses, at, segmentBytes);
    try {
      object.read(unpacker.window(end - start).subarray(0, end - start), start);
    } catch (error) {
      this.#failAll(uses.slice(at, behind), error);
      return behind;
    }
    for (let next = at; next < behind;) {
      const blob = uses[next];
      if (blob === undefined) break;
      let plain: Uint8Array | string;
      try {
        plain = unpacker.unpack(blob.offset - start, blob.length, blob.plainLength, blob.id);
      } catch (error) {
        if (!isDamage(error)) throw error;
        plain = `pack ${this.#pack.packId}: ${error.message}`;
      }
      // One blob may be wanted in many places; in the window it is opened once.
      for (; next < behind && uses[next]?.offset === blob.offset; next++) {
        const use = uses[next];
        if (use === undefined) break;
        if (typeof plain === 'string') this.#fail(use, plain);
        else this.#write(use, plain);
      }
    }
    return behind;
  }

  #write(use: BlobUse, plain: Uint8Array): void {
    const { writer, throwIfAborted } = this.#tools;
    throwIfAborted();
    if (use.kind === 'part') {
      writer.write(use.descriptor, plain, use.positionBytes, `file ${use.fileNumber}`);
      this.#countPart(use);
    } else {
      writer.writeFile(this.#pathOf(use), use.node, plain);
      this.#filesDone++;
    }
    this.#bytesDone += plain.length;
  }

  #fail(use: BlobUse, reason: string): void {
    if (use.kind === 'part') this.#countPart(use, reason);
    else this.#failed.push({ path: this.#pathOf(use), reason });
  }

  #failAll(uses: readonly BlobUse[], error: unknown): void {
    if (!isDamage(error)) throw error;
    for (const use of uses) this.#fail(use, error.message);
  }

  #countPart({ fileNumber }: FilePartUse, failure?: string): void {
    const parts = this.#parts.get(fileNumber);
    const firstFailure = parts?.failure ?? failure;
    this.#parts.set(fileNumber, {
      partCount: (parts?.partCount ?? 0) + 1,
      ...(firstFailure === undefined ? {} : { failure: firstFailure }),
    });
  }

  #pathOf({ folder, node }: WholeFileUse): string {
    return joinPath(this.#pack.folders[folder] ?? '/', node.name);
  }
}

/** The uses that are read in one go, from the one at `at` on: what lies close together, up to `maxBytes` or one longer blob. */
export function segmentOf(uses: readonly BlobUse[], at: number, maxBytes: number): { end: number; behind: number } {
  const first = uses[at];
  const start = first?.offset ?? 0;
  let end = start + (first?.length ?? 0);
  let behind = at + 1;
  for (; behind < uses.length; behind++) {
    const next = uses[behind];
    if (next === undefined || next.offset - end > maxGapBytes || next.offset + next.length - start > Math.max(maxBytes, end - start)) break;
    end = Math.max(end, next.offset + next.length);
  }
  return { end, behind };
}
