/** A row of the table: something that is measured by itself, with one figure or several. */
export interface BenchRow {
  /** A sentence for whoever waits for it. */
  readonly description: string;
  measure(context: RowContext): Promise<readonly Figure[]>;
}

export interface RowContext {
  /** Empty, in memory when there is room; what is left in it goes at the end. */
  readonly folder: string;
  /** A tenth of the data, for trying. */
  readonly isSmall: boolean;
  readonly rounds: number;
  readonly say: (text: string) => void;
  readonly signal: AbortSignal;
}

export interface Figure {
  readonly name: string;
  readonly value: number;
  readonly unit: string;
  /** Such as `<= 100`. */
  readonly bar?: string;
}

/** The value below which `share` of the values are. NaN of nothing. */
export function percentile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}
