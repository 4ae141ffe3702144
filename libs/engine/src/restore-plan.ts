import type { ObjectId } from '@holdfast/restic-format/object-id';
import type { PlainFile } from '@holdfast/restic-format/plain-files';
import type { TargetNode } from '@holdfast/sources/target';
import type { BlobIndex } from './blob-index.ts';
import type { PackToRestore } from './restore-pack.ts';
import { BlobUseWriter, type FilePart } from './restore-uses.ts';

/**
 * What is to be read of which pack, collected while the trees are walked. A pack is ready as soon as each of its blobs is wanted, which
 * in a recovery of everything is soon after its last file was met: the walk goes on while threads read. Blobs that are wanted again
 * after that make their pack ready once more, at the end.
 */
export class RestorePlan {
  readonly #index: BlobIndex;
  readonly #onReady: (pack: PackToRestore) => void;
  readonly #packs = new Map<number, PackPlan>();
  /** 1 for every entry of the index that was wanted before. */
  readonly #marks: Uint8Array;
  #empty = new PackPlan(null, Number.POSITIVE_INFINITY);

  constructor(index: BlobIndex, onReady: (pack: PackToRestore) => void) {
    this.#index = index;
    this.#onReady = onReady;
    this.#marks = new Uint8Array(index.entryCount);
  }

  /** Memory that the plan takes. */
  get sizeBytes(): number {
    let sizeBytes = this.#empty.uses.sizeBytes;
    for (const { uses } of this.#packs.values()) sizeBytes += uses.sizeBytes;
    return sizeBytes;
  }

  addEmpty(folder: string, node: TargetNode): void {
    this.#empty.uses.addEmpty(this.#empty.folderNumber(folder), node);
    if (this.#empty.uses.sizeBytes >= maxEmptyBytes) this.#handOverEmpty();
  }

  addWhole(entry: number, id: ObjectId, folder: string, node: TargetNode): void {
    const place = this.#index.placeOf(entry);
    const plan = this.#planOf(place.packNumber);
    plan.uses.addWhole(place, id, plan.folderNumber(folder), node);
    this.#want(entry, place.packNumber, plan);
  }

  /** As addWhole, for a file as it was found in the text of its tree. */
  addPlain(entry: number, ids: Uint8Array, folder: string, file: PlainFile, text: Uint8Array): void {
    const place = this.#index.placeOf(entry);
    const plan = this.#planOf(place.packNumber);
    plan.uses.addPlain(place, ids, plan.folderNumber(folder), file, text);
    this.#want(entry, place.packNumber, plan);
  }

  addPlainEmpty(folder: string, file: PlainFile, text: Uint8Array): void {
    this.#empty.uses.addPlainEmpty(this.#empty.folderNumber(folder), file, text);
    if (this.#empty.uses.sizeBytes >= maxEmptyBytes) this.#handOverEmpty();
  }

  addPart(entry: number, id: ObjectId, part: FilePart): void {
    const place = this.#index.placeOf(entry);
    const plan = this.#planOf(place.packNumber);
    plan.uses.addPart(place, id, part);
    this.#want(entry, place.packNumber, plan);
  }

  /** Makes everything ready. */
  handOver(): void {
    for (const plan of this.#packs.values()) this.#onReady(plan.take());
    this.#packs.clear();
    this.#handOverEmpty();
  }

  #handOverEmpty(): void {
    const plan = this.#empty;
    if (plan.uses.sizeBytes === 0) return;
    this.#empty = new PackPlan(null, Number.POSITIVE_INFINITY);
    this.#onReady(plan.take());
  }

  #planOf(packNumber: number): PackPlan {
    let plan = this.#packs.get(packNumber);
    if (plan === undefined) {
      const { packId, entryCount } = this.#index.packOf(packNumber);
      this.#packs.set(packNumber, (plan = new PackPlan(packId, entryCount)));
    }
    return plan;
  }

  #want(entry: number, packNumber: number, plan: PackPlan): void {
    if (this.#marks[entry] === 1) return;
    this.#marks[entry] = 1;
    plan.missingCount--;
    if (plan.missingCount > 0) return;
    this.#packs.delete(packNumber);
    this.#onReady(plan.take());
  }
}

/** Some thousand empty files: a tenth of a second's work for a thread. */
const maxEmptyBytes = 256 * 1024;

class PackPlan {
  readonly uses = new BlobUseWriter();
  /** Blobs that nobody has asked for yet. */
  missingCount: number;
  readonly #packId: ObjectId | null;
  readonly #folders: string[] = [];

  constructor(packId: ObjectId | null, blobCount: number) {
    this.#packId = packId;
    this.missingCount = blobCount;
  }

  /** The walk goes folder by folder: the last one is mostly the one that is asked for. */
  folderNumber(path: string): number {
    const last = this.#folders.length - 1;
    return this.#folders[last] === path ? last : this.#folders.push(path) - 1;
  }

  take(): PackToRestore {
    return { packId: this.#packId, uses: this.uses.take(), folders: this.#folders, workBytes: this.uses.workBytes };
  }
}
