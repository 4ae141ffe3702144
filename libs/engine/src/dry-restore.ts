import { overheadBytes } from '@holdfast/restic-format/cipher';
import type { TargetNode, TargetWarning } from '@holdfast/sources/target';
import { TargetWriter } from '@holdfast/sources/target-writer';
import type { RestoredPack } from './restore-pack.ts';
import type { PackRestorer } from './restore-packs.ts';
import { readBlobUses } from './restore-uses.ts';
import { plainLengthOf } from './sealed-blob.ts';

/** Looks at what is there, as a writer does, and changes nothing. */
export class DryWriter extends TargetWriter {
  override keepFile(): boolean {
    return true;
  }
  override makeDirectory(path: string): boolean {
    return this.look(path) === undefined;
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
  override takeWarnings(): TargetWarning[] {
    return [];
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
        failed: [],
        parts: [...parts].map(([fileNumber, partCount]) => ({ fileNumber, partCount })),
        warnings: [],
      };
    },
    async close() {},
    async [Symbol.asyncDispose]() {},
  };
}
