import { asHoldfastError } from '@holdfast/errors/holdfast-error';
import { join } from 'node:path';
import { readWorkerConfig } from './config.ts';
import { keepCompiledCode } from './keep-compiled-code.ts';
import { makeScratchDir } from './scratch-folder.ts';
import { createLogger } from './logger.ts';
import { startWorkers } from './start-workers.ts';

/** The worker process: `node apps/worker/src/main.ts`. SIGTERM and SIGINT end it cleanly; a second one ends it at once. */
async function main(): Promise<void> {
  const config = readWorkerConfig(process.env);
  const logger = createLogger(config, { app: 'worker' });
  // Something is broken that nobody foresaw: runs in hand are taken over by others, which is safer than going on.
  process.on('uncaughtException', (error) => {
    logger.fatal({ err: error }, 'worker ends because of an unforeseen error');
    process.exit(1);
  });

  await makeScratchDir(config.scratchDir);
  const isKept = await keepCompiledCode(join(config.scratchDir, 'compiled'));
  if (!isKept) logger.warn({ scratchDir: config.scratchDir }, 'the threads of each run compile their code anew: it cannot be kept here');
  const starting = startWorkers(config, logger);
  let signalCount = 0;
  const onSignal = (signal: NodeJS.Signals): void => {
    signalCount++;
    if (signalCount > 1) process.exit(1);
    logger.info({ signal }, 'signal received');
    starting
      .then((worker) => worker.stop())
      .then(
        () => process.exit(0),
        (error: unknown) => {
          logger.error({ err: error }, 'worker did not stop cleanly');
          process.exit(1);
        },
      );
  };
  process.on('SIGTERM', onSignal).on('SIGINT', onSignal);

  const worker = await starting;
  logger.info({ workerId: worker.workerId, queues: worker.backendKind, concurrency: config.concurrency }, 'worker is ready');
  process.send?.({ ready: worker.workerId });
}

try {
  await main();
} catch (error) {
  const { code, message, hint } = asHoldfastError(error);
  process.stderr.write(`holdfast worker: ${code}: ${message}\n  ${hint}\n`);
  process.exit(1);
}
