import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** Where things lie: the sources of this checkout, and the folder in which a machine keeps what `up` makes. */
export interface Checkout {
  readonly root: string;
  /** Mode 0700: secrets, the embedded database, repositories, logs. */
  readonly stateFolder: string;
  readonly apiMain: string;
  readonly workerMain: string;
}

const checkoutRoot = join(import.meta.dirname, '..', '..', '..');

export function findCheckout(environment: Readonly<Record<string, string | undefined>>): Checkout {
  const stateFolder = environment['HOLDFAST_STATE_DIR'];
  return {
    root: checkoutRoot,
    stateFolder: stateFolder === undefined || stateFolder === '' ? join(checkoutRoot, '.holdfast') : stateFolder,
    apiMain: fileURLToPath(import.meta.resolve('@holdfast/api/main')),
    workerMain: fileURLToPath(import.meta.resolve('@holdfast/worker/main')),
  };
}
