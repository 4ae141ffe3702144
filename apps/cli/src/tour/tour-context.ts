import type { Progress } from '@holdfast/jobs/progress';
import type { ApiClient } from '../api-client.ts';
import type { BarStream } from '../progress-bar.ts';
import type { RunFollower } from './run-follower.ts';
import type { TreeListing } from './list-tree.ts';
import type { BackupRun, Config } from './api-answers.ts';

export interface TourOptions {
  readonly client: ApiClient;
  /** The folder that is backed up: this very checkout. */
  readonly sourceFolder: string;
  /** Left out of the backup: it holds the repository itself. */
  readonly stateFolder: string;
  /** Inside the storage roots. */
  readonly repositoryFolder: string;
  /** Inside the target roots; does not exist yet. */
  readonly targetFolder: string;
  /** node_modules holds tens of thousands of files that npm can bring back: left out unless asked for. */
  readonly withNodeModules: boolean;
  readonly output: NodeJS.WriteStream & BarStream;
  readonly signal: AbortSignal;
}

/** What the steps hand on to each other. */
export interface TourContext extends TourOptions {
  readonly follower: RunFollower;
  readonly entityId: string;
  readonly config: Config;
  /** Draws the progress of a step; the runner names it and takes it away. */
  readonly showProgress: (progress: Progress) => void;
}

export interface FirstBackup {
  readonly run: BackupRun;
  readonly before: TreeListing;
  readonly after: TreeListing;
}

/** What a step has to tell when it went well; it throws when it did not. */
export interface StepOutcome {
  /** `25.0 MiB, 640 files`. */
  readonly amount: string;
  readonly detail: string;
}
