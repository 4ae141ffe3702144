/**
 * How far a call has come. `null` where the total is not known (yet). Called often (each file, each pack): whoever
 * shows it thins it out.
 */
export interface EngineProgress {
  readonly phase: EnginePhase;
  readonly filesDone: number;
  readonly filesTotal: number | null;
  readonly bytesDone: number;
  readonly bytesTotal: number | null;
}

export type EnginePhase =
  | 'opening'
  | 'reading'
  | 'saving'
  | 'restoring'
  | 'checking_packs'
  | 'checking_trees'
  | 'comparing'
  | 'marking'
  | 'repacking'
  | 'copying'
  | 'deleting';

export type OnProgress = (progress: EngineProgress) => void;
