import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Checkout } from './checkout.ts';
import type { CliConfig } from './config.ts';
import type { LocalSecrets } from './secrets.ts';

/** The folders that a machine uses on which nobody set any; each can be set by the environment. */
export interface ServiceFolders {
  readonly sourceRoots: string;
  readonly storageRoots: string;
  readonly targetRoots: string;
  readonly scratch: string;
}

export function serviceFolders(checkout: Checkout, config: CliConfig): ServiceFolders {
  const inState = (name: string): string => join(checkout.stateFolder, name);
  return {
    sourceRoots: config.sourceRoots ?? checkout.root,
    storageRoots: config.storageRoots ?? inState('repositories'),
    targetRoots: config.targetRoots ?? inState('restored'),
    scratch: config.scratchFolder ?? inState('scratch'),
  };
}

/** Makes those of the folders that are our own. */
export function makeServiceFolders(checkout: Checkout, folders: ServiceFolders): void {
  const own = [...folders.storageRoots.split(':'), ...folders.targetRoots.split(':'), folders.scratch];
  for (const folder of own) {
    if (folder.startsWith(`${checkout.stateFolder}/`)) mkdirSync(folder, { recursive: true, mode: 0o700 });
  }
}

/** What the API and the workers find in their environment: the caller's own, and what `up` decided. */
export function serviceEnvironment(
  environment: Readonly<Record<string, string | undefined>>,
  decided: {
    readonly databaseUrl: string;
    readonly secrets: Pick<LocalSecrets, 'masterKey' | 'jwtSecret'>;
    readonly host: string;
    readonly port: number;
    readonly folders: ServiceFolders;
  },
): Readonly<Record<string, string | undefined>> {
  return {
    ...environment,
    HOLDFAST_PARENT_PID: undefined,
    DATABASE_URL: decided.databaseUrl,
    HOLDFAST_MASTER_KEY: decided.secrets.masterKey,
    HOLDFAST_JWT_SECRET: decided.secrets.jwtSecret,
    HOLDFAST_API_HOST: decided.host,
    HOLDFAST_API_PORT: String(decided.port),
    HOLDFAST_SOURCE_ROOTS: decided.folders.sourceRoots,
    HOLDFAST_STORAGE_ROOTS: decided.folders.storageRoots,
    HOLDFAST_TARGET_ROOTS: decided.folders.targetRoots,
    HOLDFAST_SCRATCH_DIR: decided.folders.scratch,
    // `up` reads its children's lines and tells their errors.
    HOLDFAST_LOG_PRETTY: 'false',
  };
}
