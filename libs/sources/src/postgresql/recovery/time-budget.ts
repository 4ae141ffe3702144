import type pg from 'pg';

/** The time that an inspection has, for all statements and for each. */
export class TimeBudget {
  readonly #endsAtMs: number;
  readonly #statementTimeoutMs: number;

  constructor(totalMs: number, statementTimeoutMs: number) {
    this.#endsAtMs = performance.now() + totalMs;
    this.#statementTimeoutMs = statementTimeoutMs;
  }

  get isSpent(): boolean {
    return performance.now() >= this.#endsAtMs;
  }

  /** What the next statement may take; 1 at least, for 0 would be no limit. */
  get nextMs(): number {
    return Math.max(1, Math.min(this.#statementTimeoutMs, Math.floor(this.#endsAtMs - performance.now())));
  }

  /** Sets the limit of the statements that follow on the connection. */
  async limitNext(client: pg.Client): Promise<void> {
    await client.query(`SET statement_timeout = ${this.nextMs}`);
  }
}
