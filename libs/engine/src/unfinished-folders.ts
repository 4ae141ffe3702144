import type { TargetNode } from '@holdfast/sources/target';

/**
 * Folders that are to get their times, modes and owners once nothing is made in them any more. A folder is held by each thing that is on
 * its way in it, and by each unfinished folder in it: a mode may forbid to go through.
 */
export class UnfinishedFolders {
  readonly #holds = new Map<string, number>();
  /** All of their trees was walked through; those below before those above. A folder without a node stays as it is. */
  readonly #walked = new Map<string, TargetNode | undefined>();
  readonly #finish: (path: string, node: TargetNode) => void;
  /** Whether whatever will hold a folder does so already. */
  #knowsAll = false;

  constructor(finish: (path: string, node: TargetNode) => void) {
    this.#finish = finish;
  }

  hold(path: string): void {
    this.#holds.set(path, (this.#holds.get(path) ?? 0) + 1);
  }

  release(path: string): void {
    const count = (this.#holds.get(path) ?? 0) - 1;
    if (count > 0) this.#holds.set(path, count);
    else {
      this.#holds.delete(path);
      if (this.#knowsAll) this.#finishFolder(path);
    }
  }

  addWalked(path: string, node: TargetNode | undefined): void {
    this.#walked.set(path, node);
  }

  /** From now on folders that were walked through are finished as they are released. */
  begin(): void {
    this.#knowsAll = true;
  }

  /** Ends what `begin` began. */
  pause(): void {
    this.#knowsAll = false;
  }

  /** Those that nothing holds, from below upwards, as far as they were walked through. */
  *finishable(): Generator<() => void> {
    for (const path of this.#walked.keys()) if (!this.#holds.has(path)) yield () => this.#finishFolder(path);
  }

  #finishFolder(path: string): void {
    if (!this.#walked.has(path)) return;
    const node = this.#walked.get(path);
    this.#walked.delete(path);
    if (node !== undefined) this.#finish(path, node);
    this.release(parentOf(path));
  }
}

/** The folder that a path is in. */
export function parentOf(path: string): string {
  const slash = path.lastIndexOf('/');
  return slash <= 0 ? '/' : path.slice(0, slash);
}
