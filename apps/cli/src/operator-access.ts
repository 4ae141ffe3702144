import { join } from 'node:path';
import { HoldfastError } from '@holdfast/errors/holdfast-error';
import type { Checkout } from './checkout.ts';
import type { CliConfig } from './config.ts';
import { readSecret } from './secrets.ts';
import { readRunningUp } from './up-lock.ts';

/** The secret that signs tokens: of the environment, else the one that `up` made. Codes: configuration_invalid, secret_unreadable. */
export function findJwtSecret(checkout: Checkout, config: CliConfig): string {
  const secret = config.jwtSecret ?? readSecret(join(checkout.stateFolder, 'jwt-secret'));
  if (secret !== undefined) return secret;
  throw new HoldfastError('configuration_invalid', `there is no HOLDFAST_JWT_SECRET and none in ${checkout.stateFolder}`, {
    hint: 'set the one that the API uses, or start with `holdfast up`, which makes one',
  });
}

/** The key that opens sealed secrets, found in the same way. */
export function findMasterKey(checkout: Checkout, config: CliConfig): string {
  const key = config.masterKey ?? readSecret(join(checkout.stateFolder, 'master-key'));
  if (key !== undefined) return key;
  throw new HoldfastError('configuration_invalid', `there is no HOLDFAST_MASTER_KEY and none in ${checkout.stateFolder}`, {
    hint: 'set the one that the API and the workers use',
  });
}

/** The database: of the environment, else the one of the running `up`. Codes: configuration_invalid. */
export function findDatabaseUrl(checkout: Checkout, config: CliConfig): string {
  const url = config.databaseUrl ?? readRunningUp(checkout.stateFolder)?.databaseUrl;
  if (url !== undefined) return url;
  throw new HoldfastError('configuration_invalid', 'there is no DATABASE_URL, and no `holdfast up` runs whose database could be used', {
    hint: 'set DATABASE_URL, or run `holdfast up` meanwhile',
  });
}

/** Where the API answers: as named, else of the running `up`. Codes: configuration_invalid. */
export function findApiUrl(checkout: Checkout, named: string | undefined): string {
  const url = named ?? readRunningUp(checkout.stateFolder)?.apiUrl;
  if (url !== undefined) return url.replace(/\/+$/, '');
  throw new HoldfastError('configuration_invalid', 'no address of an API is given, and no `holdfast up` runs', {
    hint: 'name it with --api, such as --api http://127.0.0.1:8080',
  });
}
