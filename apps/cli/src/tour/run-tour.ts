import type { Progress } from '@holdfast/jobs/progress';
import type { TourMade } from '../tour-record.ts';
import { cleanUp } from './clean-up.ts';
import { listSource, makeFirstBackup, makeSecondBackup } from './back-up.ts';
import { checkHealth, readDocs, replayEvents, signInToBoard } from './look-around.ts';
import { recoverFully, recoverSelectively } from './recover-backup.ts';
import { openRunFollower } from './run-follower.ts';
import { findOrCreateConfig, findOrCreateEntity } from './set-up-demo.ts';
import { openStepRunner, type StepResult, type StepRunner } from './step-runner.ts';
import type { TourContext, TourOptions } from './tour-context.ts';
import { verifications, verifyBackup } from './verify-backup.ts';

export interface TourResult {
  readonly results: readonly StepResult[];
  readonly table: string;
  readonly succeeded: boolean;
  /** For the examples that are printed afterwards; undefined when it did not come so far. */
  readonly made: TourMade | undefined;
}

/**
 * The main job before the user's eyes, over the REST API like any client: backup, three verifications, full and selective
 * recovery compared with the source, a second backup, cleanup. A step that fails is told and does not stop those that can do without
 * it. Leaves the entity, its config, its repository and what was recovered. Throws only when `signal` is aborted.
 */
export async function runTour(options: TourOptions): Promise<TourResult> {
  const runner = openStepRunner(options.output, options.signal);
  const entity = await runner.run('entity', () => findOrCreateEntity(options.client));
  const setUp = entity && (await runner.run('config', () => findOrCreateConfig(options, entity.entityId)));
  if (entity === undefined || setUp === undefined) runner.skip('backup and what follows', 'there is no config to run');
  else {
    await using follower = openRunFollower(options.client, entity.entityId);
    const { config } = setUp;
    const context = (showProgress: (progress: Progress) => void): TourContext => ({
      ...options,
      follower,
      entityId: entity.entityId,
      config,
      showProgress,
    });
    await runWork(runner, context);
  }
  await runner.run('health', () => checkHealth(options));
  await runner.run('Bull Board', () => signInToBoard(options));
  await runner.run('API description', () => readDocs(options));
  return {
    results: runner.results,
    table: runner.table(),
    succeeded: runner.results.every((result) => result.state === 'ok'),
    made: setUp && {
      configId: setUp.config.id,
      repositoryId: setUp.config.repositoryId,
      repositoryFolder: options.repositoryFolder,
    },
  };
}

async function runWork(runner: StepRunner, contextWith: (showProgress: (progress: Progress) => void) => TourContext): Promise<void> {
  const listed = await runner.run('list the source', (show) => listSource(contextWith(show)));
  const first = listed && (await runner.run('backup', (show) => makeFirstBackup(contextWith(show), listed.listing)));
  if (first === undefined) {
    runner.skip('verify, recover, clean up', 'there is no backup');
    return;
  }
  const { backup } = first;
  for (const verification of verifications) {
    await runner.run(`verify ${verification.type}`, (show) => verifyBackup(contextWith(show), backup, verification));
  }
  await runner.run('recovery, full', (show) => recoverFully(contextWith(show), backup));
  await runner.run('recovery, one folder', (show) => recoverSelectively(contextWith(show), backup));
  await runner.run('second backup', (show) => makeSecondBackup(contextWith(show)));
  await runner.run('cleanup', (show) => cleanUp(contextWith(show), backup));
  await runner.run('event stream', (show) => replayEvents(contextWith(show)));
}
