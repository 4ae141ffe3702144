import { objectIdBytes } from '@holdfast/restic-format/object-id';

const firstCapacity = 64;

/** Ids side by side in a buffer that grows. */
export class IdList {
  count = 0;
  #bytes = new Uint8Array(firstCapacity * objectIdBytes);

  /** `ids` are one or more of them. */
  push(ids: Uint8Array): void {
    const end = this.count * objectIdBytes + ids.length;
    if (end > this.#bytes.length) {
      const larger = new Uint8Array(Math.max(this.#bytes.length * 2, end));
      larger.set(this.#bytes);
      this.#bytes = larger;
    }
    this.#bytes.set(ids, this.count * objectIdBytes);
    this.count += ids.length / objectIdBytes;
  }

  copy(): Uint8Array<ArrayBuffer> {
    return this.#bytes.slice(0, this.count * objectIdBytes);
  }
}
