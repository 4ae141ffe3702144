import { join } from 'node:path';

/** Where things lie: the sources of this checkout, and the folder in which a machine keeps what `up` makes. */
export interface Checkout {
  readonly root: string;
  /** Mode 0700: secrets, the embedded database, repositories, logs. */
  readonly stateFolder: string;
  readonly apiMain: string;
  readonly workerMain: string;
}

const ROOT = join(import.meta.dirname, '..', '..', '..');

export function findCheckout(environment: Readonly<Record<string, string | undefined>>): Checkout {
  const stateFolder = environment['HOLDFAST_STATE_DIR'];
  return {
    root: ROOT,
    stateFolder: stateFolder === undefined || stateFolder === '' ? join(ROOT, '.holdfast') : stateFolder,
    apiMain: join(ROOT, 'apps', 'api', 'src', 'main.ts'),
    workerMain: join(ROOT, 'apps', 'worker', 'src', 'main.ts'),
  };
}
