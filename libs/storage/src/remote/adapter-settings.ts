/** What every adapter of a server is opened with, beside its kind's own options; tests give shorter times. */
export interface AdapterSettings {
  /** A connection on which nothing moves for so long is ended, whatever it was doing. */
  readonly idleTimeoutMs: number;
  /** Connections to the server at once, and with them calls. */
  readonly maxConnections: number;
}

/** Servers that gather a large listing or settle an upload are silent for some seconds; half a minute of it is a dead line. */
export const defaultIdleTimeoutMs = 30_000;
export const defaultMaxConnections = 8;
export const mostConnections = 64;

export const defaultAdapterSettings: AdapterSettings = { idleTimeoutMs: defaultIdleTimeoutMs, maxConnections: defaultMaxConnections };
