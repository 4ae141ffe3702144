import type { ApiConfig } from '../config.ts';

/** Where the operator lets a source be. */
export type ReachSettings = Pick<ApiConfig, 'sourceRoots' | 'logRemovalRoots' | 'databaseHosts' | 'hookHosts'>;

/** What the API looks at in the source of a config, beside its schema: one of these for each type. */
export interface SourceCheck<S> {
  /** Refuses what is out of the worker's reach, by its text alone: the worker looks through symlinks. Codes: those of allowed-places.ts. */
  checkReach(source: S, settings: ReachSettings): void;
  readonly password: PasswordPlace<S> | { readonly reason: string };
  /** By the name of a part: what its password in sourcePasswords is for. Where it is missing the source has no parts. */
  partPlaces?(source: S): ReadonlyMap<string, string>;
}

interface PasswordPlace<S> {
  /** The server and the account that sourcePassword is for: one that was sealed for another is not sent there. */
  place(source: S): string;
}
