import { objectIdBytes } from '@holdfast/restic-format/object-id';

const firstCapacity = 64;

/** Ids side by side in a buffer that grows. */
export class IdList {
  count = 0;
  #bytes = new Uint8Array(firstCapacity * objectIdBytes);

  push(id: Uint8Array): void {
    if ((this.count + 1) * objectIdBytes > this.#bytes.length) {
      const larger = new Uint8Array(this.#bytes.length * 2);
      larger.set(this.#bytes);
      this.#bytes = larger;
    }
    this.#bytes.set(id, this.count++ * objectIdBytes);
  }

  copy(): Uint8Array<ArrayBuffer> {
    return this.#bytes.slice(0, this.count * objectIdBytes);
  }
}
