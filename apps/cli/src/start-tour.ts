import { join } from 'node:path';
import { signAccessToken } from './access-token.ts';
import { openApiClient } from './api-client.ts';
import type { Checkout } from './checkout.ts';
import type { ServiceFolders } from './service-environment.ts';
import { runTour, type TourResult } from './tour/run-tour.ts';
import { demoEntity } from './tour/set-up-demo.ts';

/** A tour takes minutes; a token for it need not live longer than a morning. */
const tokenLifetimeSeconds = 4 * 3600;

export interface TourStart {
  readonly checkout: Checkout;
  readonly apiUrl: string;
  readonly jwtSecret: string;
  readonly folders: ServiceFolders;
  readonly withNodeModules: boolean;
  readonly signal: AbortSignal;
}

/** Runs the tour against an API that is up, with a token of its own, and prints its table. */
export async function startTour(start: TourStart): Promise<TourResult> {
  const now = new Date();
  const token = signAccessToken(
    { subject: 'tour', role: 'admin', entities: '*' },
    { secret: start.jwtSecret, now, lifetimeSeconds: tokenLifetimeSeconds },
  );
  const output = process.stdout;
  output.write(`\nThe tour: this checkout is backed up, verified, recovered and cleaned up over the REST API at ${start.apiUrl}\n`);
  if (!start.withNodeModules) output.write('(node_modules is left out; --with-node-modules takes it in, some hundred megabytes)\n');
  output.write('\n');
  const result = await runTour({
    client: openApiClient({ url: start.apiUrl, token, signal: start.signal }),
    sourceFolder: start.checkout.root,
    stateFolder: start.checkout.stateFolder,
    repositoryFolder: join(firstOf(start.folders.storageRoots), demoEntity),
    targetFolder: join(firstOf(start.folders.targetRoots), `tour-${timeInName(now)}`),
    withNodeModules: start.withNodeModules,
    output,
    signal: start.signal,
  });
  output.write(`\n${result.table}\n`);
  return result;
}

function firstOf(roots: string): string {
  return roots.split(':').find((root) => root !== '') ?? '/';
}

/** `20260131-120000`, UTC. */
function timeInName(time: Date): string {
  return time.toISOString().slice(0, 19).replaceAll(/[-:]/g, '').replace('T', '-');
}
