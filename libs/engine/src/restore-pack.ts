import type { TargetWarning } from '@holdfast/sources/target';
import type { TargetWriter } from '@holdfast/sources/target-writer';
import type { OpenObject } from '@holdfast/storage/local/local-object';
import { isDamage } from './damage.ts';
import { failedEntry, isEntryFailure, type FailedEntry } from './entry-failure.ts';
import { joinPath } from './source-node.ts';
import { readBlobUses, type BlobUse } from './restore-uses.ts';
import type { StretchUnpacker } from './stretch-unpacker.ts';

/** The uses of one pack's blobs, or files that are empty and need none. */
export interface PackToRestore {
  /** Null when there are only empty files. */
  readonly packId: string | null;
  /** See restore-uses.ts. */
  readonly uses: Uint8Array<ArrayBuffer>;
  /** Paths of the folders that whole files go into, by their numbers. */
  readonly folders: readonly string[];
  /** How much there is to do, to be compared with other packs'. */
  readonly workBytes: number;
}

export interface RestoredPack {
  readonly filesDone: number;
  readonly bytesDone: number;
  /** How many of the files took another's place. */
  readonly replacedCount: number;
  /** Files that are not there, or not whole: they are damaged in the repository, or the target refused them. */
  readonly failed: readonly FailedEntry[];
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
  readonly unpacker: StretchUnpacker;
  readonly writer: TargetWriter;
  readonly throwIfAborted: () => void;
}

/** Reads are of this size, unless a blob is longer: several chunks of a large file, which are hashed side by side. */
const segmentBytes = 4 * 1024 * 1024;
/** Reading on over a gap is cheaper than asking again. */
export const maxGapBytes = 64 * 1024;

/**
 * Reads what is wanted of a pack, each byte once, and writes it into its files; each blob is checked against its hash before. Damage
 * fails the files that it hits, and so does what the target refuses of a file. Errors: others of the target and, but for damage, of the storage.
 */
export function restorePack(pack: PackToRestore, openObject: () => OpenObject, tools: RestoreTools): RestoredPack {
  return new PackRestore(pack, tools).run(openObject);
}

class PackRestore {
  readonly #pack: PackToRestore;
  readonly #tools: RestoreTools;
  readonly #failed: FailedEntry[] = [];
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
      replacedCount: this.#tools.writer.takeReplacedCount(),
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
    // One blob may be wanted in many places; in the window it is opened once.
    const firstUses: number[] = [];
    for (let nth = at; nth < behind; nth++) if (nth === at || uses[nth]?.offset !== uses[nth - 1]?.offset) firstUses.push(nth);
    const blobs = firstUses.flatMap((nth) => uses[nth] ?? []);
    unpacker.unpackAll(blobs, start, (nth, plain) => this.#settle(uses, firstUses[nth] ?? behind, firstUses[nth + 1] ?? behind, plain));
    return behind;
  }

  /** The uses of one blob. */
  #settle(uses: readonly BlobUse[], from: number, to: number, plain: Uint8Array | string): void {
    for (let nth = from; nth < to; nth++) {
      const use = uses[nth];
      if (use === undefined) break;
      if (typeof plain === 'string') this.#fail(use, `pack ${this.#pack.packId}: ${plain}`);
      else this.#write(use, plain);
    }
  }

  #write(use: BlobUse, plain: Uint8Array): void {
    const { writer, throwIfAborted } = this.#tools;
    throwIfAborted();
    if (use.kind === 'part') {
      writer.write(use.descriptor, plain, use.positionBytes, `file ${use.fileNumber}`);
      this.#countPart(use);
    } else {
      try {
        writer.writeFile(this.#folderOf(use), use, plain);
      } catch (error) {
        if (!isEntryFailure(error)) throw error;
        this.#failed.push(failedEntry(this.#pathOf(use), error));
        return;
      }
      this.#filesDone++;
    }
    this.#bytesDone += plain.length;
  }

  #fail(use: BlobUse, reason: string): void {
    if (use.kind === 'part') this.#countPart(use, reason);
    else this.#failed.push({ path: this.#pathOf(use), code: 'repository_damaged', reason });
  }

  #failAll(uses: readonly BlobUse[], error: unknown): void {
    if (!isDamage(error)) throw error;
    for (const use of uses) this.#fail(use, error.message);
  }

  #countPart({ fileNumber }: BlobUse, failure?: string): void {
    const parts = this.#parts.get(fileNumber);
    const firstFailure = parts?.failure ?? failure;
    this.#parts.set(fileNumber, {
      partCount: (parts?.partCount ?? 0) + 1,
      ...(firstFailure === undefined ? {} : { failure: firstFailure }),
    });
  }

  #folderOf({ folder }: BlobUse): string {
    return this.#pack.folders[folder] ?? '/';
  }

  #pathOf(use: BlobUse): string {
    return joinPath(this.#folderOf(use), use.name);
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
