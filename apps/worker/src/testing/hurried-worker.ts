import { systemClock, type Clock } from '@holdfast/engine/clock';
import { readWorkerConfig } from '../config.ts';
import { createLogger } from '../logger.ts';
import { startWorkers } from '../start-workers.ts';
import { fastTiming } from './worker-fixture.ts';

/**
 * A worker process that a test may kill: as main.ts, but everything happens soon. Half a minute, by which the index of a repository may be
 * behind, is over in a moment. Ends with the process that started it.
 */
const hurry = 100;
const hurried: Clock = { ...systemClock, now: () => new Date(performance.timeOrigin + performance.now() * hurry) };

const config = readWorkerConfig(process.env);
process.stdin.on('end', () => process.exit(1)).resume();
await startWorkers(config, createLogger(config, {}), { timing: fastTiming, clock: hurried });
process.stdout.write('ready\n');
