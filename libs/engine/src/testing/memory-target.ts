import { invariant } from '@holdfast/errors/invariant';
import type { Target, TargetFile, TargetNode } from '@holdfast/sources/target';

export interface RestoredEntry {
  readonly node: TargetNode;
  readonly bytes?: Uint8Array;
  readonly hardLinkTo?: string;
}

/** A target in memory, for tests, which insists on the order of calls that the interface promises. */
export interface MemoryTarget extends Target {
  readonly entries: ReadonlyMap<string, RestoredEntry>;
  readonly isOpen: boolean;
}

export function openMemoryTarget(): MemoryTarget {
  return new RecordingTarget();
}

class RecordingTarget implements MemoryTarget {
  isOpen = false;
  readonly warnings = [];
  readonly entries = new Map<string, RestoredEntry>();
  readonly #unfinishedFolders = new Set<string>();
  readonly #openFiles = new Set<string>();

  async open(): Promise<void> {
    this.isOpen = true;
  }

  async makeDirectory(path: string, node: TargetNode): Promise<void> {
    this.#assertPlace(path);
    this.entries.set(path, { node });
    this.#unfinishedFolders.add(path);
  }

  async finishDirectory(path: string): Promise<void> {
    invariant(this.#unfinishedFolders.delete(path), `${path} was not begun`);
    const below = [...this.#unfinishedFolders, ...this.#openFiles].filter((other) => other.startsWith(`${path}/`));
    invariant(below.length === 0, `${path} was finished before ${below.join(' ')}`);
  }

  async openFile(path: string, node: TargetNode): Promise<TargetFile> {
    this.#assertPlace(path);
    const bytes = new Uint8Array(node.sizeBytes);
    this.entries.set(path, { node, bytes });
    this.#openFiles.add(path);
    return {
      write: async (part, positionBytes) => {
        invariant(this.#openFiles.has(path), `${path} is not open`);
        bytes.set(part, positionBytes);
      },
      close: async () => {
        invariant(this.#openFiles.delete(path), `${path} was closed twice`);
      },
    };
  }

  async makeNode(path: string, node: TargetNode): Promise<void> {
    this.#assertPlace(path);
    this.entries.set(path, { node });
  }

  async makeHardLink(path: string, existingPath: string): Promise<void> {
    this.#assertPlace(path);
    const existing = this.entries.get(existingPath);
    invariant(existing !== undefined && !this.#openFiles.has(existingPath), `${existingPath} is not there to be linked to`);
    this.entries.set(path, { ...existing, hardLinkTo: existingPath });
  }

  async close(): Promise<void> {
    invariant(this.#openFiles.size === 0, `still open: ${[...this.#openFiles].join(' ')}`);
  }

  #assertPlace(path: string): void {
    const folder = path.slice(0, path.lastIndexOf('/'));
    invariant(folder === '' || this.#unfinishedFolders.has(folder), `${path} has no folder that is begun and not finished`);
    invariant(!this.entries.has(path), `${path} is there already`);
  }
}
