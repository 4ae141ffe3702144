import { overheadBytes } from '@holdfast/restic-format/cipher';
import type { RemoveOptions } from '@holdfast/sources/remove-entries';
import type { TargetNode, TargetWarning, ThreadTargetOptions } from '@holdfast/sources/target';
import { inTheWay, TargetWriter, type ExistingEntry } from '@holdfast/sources/target-writer';
import type { DryRun } from './dry-run.ts';
import type { RestoredPack } from './restore-pack.ts';
import type { PackRestorer } from './restore-packs.ts';
import { readBlobUses } from './restore-uses.ts';
import { plainLengthOf } from './sealed-blob.ts';
import { parentOf } from './unfinished-folders.ts';

/** Looks at what is there, as a writer does, and changes nothing. */
export class DryWriter extends TargetWriter {
  readonly #dryRun: DryRun;
  readonly #overwrite: boolean;
  /** Folders that would take the place of something else, and those below, with the folder that is there above them. */
  readonly #imagined = new Map<string, string>();

  #displaced = { count: 0, bytes: 0 };

  constructor(target: ThreadTargetOptions, dryRun: DryRun) {
    super(target);
    this.#overwrite = target.overwrite;
    this.#dryRun = dryRun;
  }

  /** Tells the dry run of an entry that would be made, in the place of `existing` or where nothing is. Errors: as making it. */
  plan(path: string, sizeBytes: number, existing: ExistingEntry | undefined): void {
    if (existing !== undefined && (existing.type === 'dir' || !this.#overwrite)) throw inTheWay(path);
    const replacedBytes = existing === undefined ? undefined : existing.type === 'file' ? existing.sizeBytes : 0;
    this.#dryRun.addWritten(this.#folderOf(path), path, sizeBytes, replacedBytes);
  }
  override takeDisplaced(): { readonly count: number; readonly bytes: number } {
    const displaced = this.#displaced;
    this.#displaced = { count: 0, bytes: 0 };
    return displaced;
  }
  override look(path: string): ExistingEntry | undefined {
    return this.#imagined.has(parentOf(path)) ? undefined : super.look(path);
  }
  override keepFile(): boolean {
    return true;
  }
  override makeDirectory(path: string): boolean {
    const existing = this.look(path);
    if (existing?.type === 'dir') {
      this.#dryRun.tryFolder(path);
      return false;
    }
    if (existing !== undefined && !this.#overwrite) throw inTheWay(path);
    const folder = this.#folderOf(path);
    this.#dryRun.addFolder(folder);
    if (existing !== undefined) {
      const bytes = existing.type === 'file' ? existing.sizeBytes : 0;
      this.#dryRun.add('deleted', path, bytes);
      this.#displaced = { count: 1, bytes };
    }
    if (existing !== undefined || this.#imagined.has(parentOf(path))) this.#imagined.set(path, folder);
    return true;
  }
  override finishDirectory(): void {}
  override createFile(_path: string, _node: TargetNode): number {
    return 0;
  }
  override finishFile(): void {}
  override closeFile(): void {}
  override removeFile(): void {}
  override makeNode(): void {}
  override makeHardLink(): void {}
  override removeOthers(path: string, names: ReadonlySet<string>, options: RemoveOptions): void {
    if (this.#imagined.has(path)) return;
    this.#dryRun.tryFolder(path);
    super.removeOthers(path, names, { ...options, isDryRun: true });
  }
  override takeWarnings(): TargetWarning[] {
    return [];
  }

  /** The folder of a path, or the one that is there in its stead. */
  #folderOf(path: string): string {
    const parent = parentOf(path);
    return this.#imagined.get(parent) ?? parent;
  }
}

/** Counts what would be written. */
export function openDryRestorer(): PackRestorer {
  return {
    restore: async ({ uses }): Promise<RestoredPack> => {
      const parts = new Map<number, number>();
      let [filesDone, bytesDone] = [0, 0];
      for (const use of readBlobUses(uses)) {
        if (use.kind === 'part') parts.set(use.fileNumber, (parts.get(use.fileNumber) ?? 0) + 1);
        else filesDone++;
        const { length, plainLength } = use;
        if (use.kind !== 'empty') bytesDone += plainLength === 0 ? plainLengthOf({ length }, overheadBytes) : plainLength;
      }
      return {
        filesDone,
        bytesDone,
        replacedCount: 0,
        failed: [],
        parts: [...parts].map(([fileNumber, partCount]) => ({ fileNumber, partCount })),
        warnings: [],
      };
    },
    async close() {},
    async [Symbol.asyncDispose]() {},
  };
}
