/** How far a recovery into a database has come, in bytes of the backup's files. */
export interface RestoreProgressValue {
  readonly filesDone: number;
  readonly filesTotal: number;
  readonly bytesDone: number;
  readonly bytesTotal: number;
}

export class RestoreProgress {
  readonly #onProgress: (value: RestoreProgressValue) => void;
  readonly #value: { filesDone: number; filesTotal: number; bytesDone: number; bytesTotal: number };

  constructor(totals: { readonly filesTotal: number; readonly bytesTotal: number }, onProgress: (value: RestoreProgressValue) => void) {
    this.#onProgress = onProgress;
    this.#value = { filesDone: 0, bytesDone: 0, ...totals };
    this.#report();
  }

  get bytesDone(): number {
    return this.#value.bytesDone;
  }

  addBytes(bytes: number): void {
    this.#value.bytesDone += bytes;
    this.#report();
  }

  addFile(): void {
    this.#value.filesDone++;
    this.#report();
  }

  #report(): void {
    this.#onProgress({ ...this.#value, bytesTotal: Math.max(this.#value.bytesTotal, this.#value.bytesDone) });
  }
}
