import type { Target, TargetFile, TargetNode } from '@holdfast/sources/target';

/** A file on its way into the target: opened at its first blob, closed after its last. */
export class RestoreFile {
  readonly path: string;
  readonly node: TargetNode;
  /** Why it is not whole; the first reason stays. */
  failure: string | undefined;
  #blobsLeft: number;
  #opening: Promise<TargetFile> | undefined;
  readonly #target: Target;
  readonly #onDone: (file: RestoreFile) => Promise<void>;

  /** `blobCount` calls of `write` or `fail` end it; `onDone` hears of the end. */
  constructor(target: Target, path: string, node: TargetNode, blobCount: number, onDone: (file: RestoreFile) => Promise<void>) {
    this.#target = target;
    this.path = path;
    this.node = node;
    this.#blobsLeft = blobCount;
    this.#onDone = onDone;
  }

  async write(bytes: Uint8Array, positionBytes: number): Promise<void> {
    const file = await (this.#opening ??= this.#target.openFile(this.path, this.node));
    await file.write(bytes, positionBytes);
    await this.#countDown();
  }

  /** A blob that is not to be had. */
  async fail(reason: string): Promise<void> {
    this.failure ??= reason;
    await this.#countDown();
  }

  async writeEmpty(): Promise<void> {
    this.#opening = this.#target.openFile(this.path, this.node);
    await this.#end();
  }

  /** After a failure of the whole restore: gives the file back, whatever is in it. */
  async abandon(): Promise<void> {
    await (await this.#opening)?.close();
  }

  async #countDown(): Promise<void> {
    this.#blobsLeft--;
    if (this.#blobsLeft === 0) await this.#end();
  }

  async #end(): Promise<void> {
    const opening = this.#opening;
    this.#opening = undefined;
    await (await opening)?.close();
    await this.#onDone(this);
  }
}
