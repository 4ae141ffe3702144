import { resolve } from 'node:path';
import { openDatabase } from '@holdfast/database/open-database';
import { migrate } from '@holdfast/database/migrate';
import { repositoryPassword } from '@holdfast/database/repositories';
import { parseMasterKey } from '@holdfast/database/sealed-secret';
import { processUser } from '@holdfast/engine/process-user';
import { workerMemory } from '@holdfast/settings/worker-memory';
import { Command, InvalidArgumentError, Option } from 'commander';
import { roles, signAccessToken, type Role } from './access-token.ts';
import { findCheckout } from './checkout.ts';
import { addFiles } from './files/files-commands.ts';
import { readCliConfig } from './config.ts';
import { findApiUrl, findDatabaseUrl, findJwtSecret, findMasterKey } from './operator-access.ts';
import { parseDurationSeconds } from './parse-duration.ts';
import { runService } from './run-service.ts';
import { parseMoved, type Moved } from './rescue/moved-repositories.ts';
import { runRescue } from './rescue/run-rescue.ts';
import { runUp } from './run-up.ts';
import { serviceFolders } from './service-environment.ts';
import { startTour } from './start-tour.ts';
import { watchStopSignals } from './stop-signals.ts';

/** More processes on one machine than this only wait for its disk. */
const maxWorkers = 32;
const portMax = 65_535;
const commandPoolSize = 1;

/** The words of the command. `exit` is told the exit code of those that have one of their own. */
export function buildProgram(environment: Readonly<Record<string, string | undefined>>, exit: (code: number) => void): Command {
  const program = new Command('holdfast').description('self-hosted backup and recovery').showHelpAfterError();
  const context = () => {
    const config = readCliConfig(environment);
    return { config, checkout: findCheckout(environment) };
  };
  addUp(program, environment, context, exit);
  program
    .command('api')
    .description('run the REST API in the foreground, with its settings from the environment')
    .action(async () => exit(await runService(context().checkout.apiMain, environment)));
  program
    .command('worker')
    .description('run one worker in the foreground, with its settings from the environment')
    .action(async () => exit(await runService(context().checkout.workerMain, { ...workerMemory, ...environment })));
  program
    .command('migrate')
    .description('bring the database to the schema of this version')
    .action(async () => {
      const { checkout, config } = context();
      const applied = await migrate(findDatabaseUrl(checkout, config), { log: tell });
      if (applied.length === 0) tell('the database is up to date');
    });
  addToken(program, context);
  addRescue(program, environment, context, exit);
  addFiles(program, { environment, context });
  program
    .command('repository-password')
    .argument('<id>', 'id of the repository')
    .description('print the password of a repository, for the stock restic program (for the operator of this machine)')
    .action(async (id: string) => {
      const { checkout, config } = context();
      const masterKey = parseMasterKey(findMasterKey(checkout, config));
      await using database = await openDatabase({
        url: findDatabaseUrl(checkout, config),
        poolSize: commandPoolSize,
        applicationName: 'holdfast-cli',
      });
      const password = await repositoryPassword(database.client, id, masterKey);
      tell('the line on standard output opens every backup in this repository: keep it out of histories and logs');
      process.stdout.write(`${password}\n`);
    });
  return program;
}

type Context = () => { config: ReturnType<typeof readCliConfig>; checkout: ReturnType<typeof findCheckout> };

function addUp(
  program: Command,
  environment: Readonly<Record<string, string | undefined>>,
  context: Context,
  exit: (code: number) => void,
): void {
  program
    .command('up')
    .description('run everything on this machine: PostgreSQL (unless DATABASE_URL is set), migrations, API and workers')
    .option('--once', 'run the tour, stop everything, and exit with 0 when every step went well')
    .option('--no-tour', 'do not run the tour on the first start')
    .option('--with-node-modules', 'let the tour back up node_modules too')
    .addOption(new Option('--workers <count>', 'worker processes').default(2).argParser(wholeNumber(0, maxWorkers)))
    .addOption(new Option('--port <port>', 'of the API; 0 takes a free one').argParser(wholeNumber(0, portMax)))
    .action(async (options: { once?: true; tour: boolean; withNodeModules?: true; workers: number; port?: number }) => {
      const once = options.once ?? false;
      const code = await runUp({
        ...context(),
        environment,
        port: options.port,
        workerCount: options.workers,
        once,
        tour: options.tour ? (once ? 'always' : 'first-start') : 'never',
        withNodeModules: options.withNodeModules ?? false,
      });
      exit(code);
    });
  program
    .command('tour')
    .description('back up, verify, recover and clean up this checkout over the API of a running `holdfast up`')
    .option('--api <url>', 'address of the API, when it is another one')
    .option('--with-node-modules', 'back up node_modules too')
    .action(async (options: { api?: string; withNodeModules?: true }) => {
      const { checkout, config } = context();
      using stop = watchStopSignals(environment, () => process.exit(1));
      const result = await startTour({
        checkout,
        apiUrl: findApiUrl(checkout, options.api),
        jwtSecret: findJwtSecret(checkout, config),
        folders: serviceFolders(checkout, config),
        withNodeModules: options.withNodeModules ?? false,
        signal: stop.signal,
      });
      exit(result.succeeded ? 0 : 1);
    });
}

function addToken(program: Command, context: Context): void {
  program
    .command('token')
    .description('print a token for the API')
    .addOption(new Option('--role <role>', 'what it may do').choices(roles).default('admin'))
    .option('--entities <ids>', 'ids of the business entities that it may touch, with commas; * for all', '*')
    .option('--subject <name>', 'who it is for', processUser().username)
    .option('--expires <time>', 'how long it is good, such as 15m, 12h or 30d', '12h')
    .action((options: { role: Role; entities: string; subject: string; expires: string }) => {
      const { checkout, config } = context();
      const entities = options.entities === '*' ? '*' : options.entities.split(',').filter((id) => id !== '');
      const token = signAccessToken(
        { subject: options.subject, role: options.role, entities },
        { secret: findJwtSecret(checkout, config), now: new Date(), lifetimeSeconds: parseDurationSeconds(options.expires) },
      );
      process.stdout.write(`${token}\n`);
    });
}

function addRescue(
  program: Command,
  environment: Readonly<Record<string, string | undefined>>,
  context: Context,
  exit: (code: number) => void,
): void {
  program
    .command('rescue')
    .description("rebuild the service in an empty folder from a repository with backups of Holdfast's own database")
    .requiredOption('--repository <place>', 'folder of the repository, or a JSON file with storageOptions and storageCredentials')
    .requiredOption('--password-file <file>', 'file with the password of the repository; - for standard input')
    .option('--snapshot <id>', 'which backup: latest, or the first letters of its id', 'latest')
    .option(
      '--state-dir <folder>',
      'where the service is built; else HOLDFAST_STATE_DIR. DATABASE_URL names an empty database, if it has one',
    )
    .option('--moved <old=new>', 'a folder of repositories that lies elsewhere now; may be given several times', collectMoved, [])
    .option('--paused', 'let no worker take a job before POST /service/start')
    .action(
      async (options: { repository: string; passwordFile: string; snapshot: string; stateDir?: string; moved: Moved[]; paused?: true }) => {
        const { config, checkout } = context();
        const code = await runRescue({
          config,
          environment,
          repository: options.repository,
          passwordFile: options.passwordFile,
          snapshot: options.snapshot,
          stateFolder: options.stateDir === undefined ? checkout.stateFolder : resolve(options.stateDir),
          moves: options.moved,
          paused: options.paused ?? false,
        });
        exit(code);
      },
    );
}

function collectMoved(text: string, before: readonly Moved[]): Moved[] {
  return [...before, parseMoved(text)];
}

function wholeNumber(least: number, most: number): (text: string) => number {
  return (text) => {
    const number = /^\d+$/.test(text) ? Number(text) : Number.NaN;
    if (number >= least && number <= most) return number;
    throw new InvalidArgumentError(`must be a whole number from ${least} to ${most}`);
  };
}

function tell(text: string): void {
  process.stderr.write(`holdfast: ${text}\n`);
}
