import type { Source } from '../source.ts';

/**
 * One part of an application's data: a database server, say, as files below a folder of its own. Whoever composes parts calls, in this
 * order: takeMoment, then reads every file of `source` once, then facts, and close in every case.
 */
export interface Part {
  /** As the config has it: `mysql`, `redis`. */
  readonly kind: string;
  /** The config's name for it, of which only one part of a set is called. */
  readonly name: string;
  /** Its files, in an order and once, as a source that makes its files up shows them. Can be listed when its moment is taken. */
  readonly source: Source;

  /**
   * Resolves when what the files will show is settled, long before they are read: whoever held the application still may let it go on.
   * Calling it again gives the same moment. The signal ends the waiting, and with it the part. Codes: those of the part.
   */
  takeMoment(signal: AbortSignal): Promise<PartMoment>;

  /**
   * What the manifest of the set says of it: versions, position, counts. Without a secret. When all files have been read; earlier it
   * rejects with `internal`.
   */
  facts(): Promise<PartFacts>;

  /** Ends connections and programs, whatever they were doing. Calling it twice is no error. */
  close(): Promise<void>;
}

/** A part that is a server. */
export interface ServerPart extends Part {
  /** Logs in and looks at the server, so that what is wrong is found before an application is held. Codes: those of the part. */
  inspect(): Promise<void>;
}

export interface PartMoment {
  /** By the clock of the worker, ISO 8601: what was committed before the moment was asked for is in it. */
  readonly takenAt: string;
  /** What an operator should know of this backup, and what is not in it: a run that has some completes with warnings. */
  readonly warnings: readonly string[];
}

/** JSON. */
export type PartFacts = { readonly [name: string]: PartFact };
type PartFact = string | number | boolean | null | readonly PartFact[] | PartFacts;
