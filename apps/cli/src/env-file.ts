import { join } from 'node:path';
import { errnoCode } from '@holdfast/errors/errno-code';
import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { findCheckout } from './checkout.ts';

/** Reads `.env` of the checkout into the environment when there is one; what is set already stays. Codes: configuration_invalid. */
export function loadEnvFile(): void {
  const path = join(findCheckout({}).root, '.env');
  try {
    process.loadEnvFile(path);
  } catch (error) {
    if (errnoCode(error) === 'ENOENT') return;
    throw new HoldfastError('configuration_invalid', `${path} cannot be read (${errnoCode(error) ?? String(error)})`, { cause: error });
  }
}
