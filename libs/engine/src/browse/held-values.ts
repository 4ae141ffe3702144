/** Values that can be made again, up to so many bytes in all: what was used last stays. One that is larger than all may be is not kept. */
export class HeldValues<Key, Value extends { readonly heldBytes: number }> {
  heldBytes = 0;
  readonly #maxBytes: number;
  /** Least recently used first. */
  readonly #values = new Map<Key, Value>();

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  get(key: Key): Value | undefined {
    const value = this.#values.get(key);
    if (value === undefined) return undefined;
    this.#values.delete(key);
    this.#values.set(key, value);
    return value;
  }

  /** As `get`, but it does not count as a use. */
  peek(key: Key): Value | undefined {
    return this.#values.get(key);
  }

  set(key: Key, value: Value): void {
    this.#drop(key);
    if (value.heldBytes > this.#maxBytes) return;
    this.#values.set(key, value);
    this.heldBytes += value.heldBytes;
    for (const oldest of this.#values.keys()) {
      if (this.heldBytes <= this.#maxBytes) break;
      this.#drop(oldest);
    }
  }

  clear(): void {
    this.#values.clear();
    this.heldBytes = 0;
  }

  #drop(key: Key): void {
    const value = this.#values.get(key);
    if (value === undefined) return;
    this.#values.delete(key);
    this.heldBytes -= value.heldBytes;
  }
}
