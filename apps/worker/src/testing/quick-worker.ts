import { readWorkerConfig } from '../config.ts';
import { createLogger } from '../logger.ts';
import { startWorkers } from '../start-workers.ts';
import { fastTiming } from './worker-fixture.ts';

/** A worker process that a test may kill: as main.ts, but a run that was lost is soon taken again. Ends with the process that started it. */
const config = readWorkerConfig(process.env);
process.stdin.on('end', () => process.exit(1)).resume();
await startWorkers(config, createLogger(config, {}), { timing: fastTiming });
process.stdout.write('ready\n');
