import { basename, resolve } from 'node:path';
import { lstat } from 'node:fs/promises';
import { errnoCode } from '@holdfast/errors/errno-code';
import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { InvalidArgumentError, type Command } from 'commander';
import { signAccessToken } from '../access-token.ts';
import { openApiClient, type ApiClient } from '../api-client.ts';
import type { Checkout } from '../checkout.ts';
import type { CliConfig } from '../config.ts';
import { formatBytes } from '../format-amount.ts';
import { findApiUrl, findJwtSecret } from '../operator-access.ts';
import { openProgressBar } from '../progress-bar.ts';
import { watchStopSignals } from '../stop-signals.ts';
import { openFileSink, streamSink } from './file-sink.ts';
import { findFiles, type SearchedPlace } from './find-files.ts';
import { getFile } from './get-file.ts';
import { listFiles } from './list-files.ts';

/** Longer than any download. */
const tokenLifetimeSeconds = 24 * 3600;

interface Surroundings {
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly context: () => { config: CliConfig; checkout: Checkout };
}

interface ApiOption {
  readonly api?: string;
}

function write(line: string): void {
  process.stdout.write(`${line}\n`);
}

/** `holdfast files ls | find | get`: what is in backups, for the operator of this machine. */
export function addFiles(program: Command, surroundings: Surroundings): void {
  const files = program.command('files').description('look into backups, and get single files out of them');

  withApi(files.command('ls'))
    .description('list a folder of a backup')
    .argument('<job>', 'id of the backup job')
    .argument('[path]', 'the folder in the snapshot', '/')
    .action(async (jobId: string, path: string, options: ApiOption) => {
      await withClient(surroundings, options, (client) => listFiles(client, { jobId, path }, write));
    });

  withApi(files.command('find'))
    .description('find files by name or pattern, in one backup or over all of a config or a repository')
    .argument('<name>', 'a name, or a pattern such as *.conf or /srv/**/site.conf')
    .option('--job <id>', 'in this backup')
    .option('--config <id>', 'in all backups of this config')
    .option('--repository <id>', 'in all backups of this repository')
    .option('--path <folder>', 'only below this folder', '/')
    .option('--ignore-case', 'large and small letters are the same')
    .action(async (pattern: string, options: FindOptions) => {
      const place = placeOf(options);
      const search = { pattern, path: options.path, ignoresCase: options.ignoreCase ?? false };
      const count = await withClient(surroundings, options, (client) => findFiles(client, place, search, write));
      if (count === 0) throw new HoldfastError('path_not_found', `nothing fits ${pattern}`, { hint: 'try a pattern, or another place' });
    });

  withApi(files.command('get'))
    .description('download a file of a backup; it goes on by itself when the connection breaks')
    .argument('<job>', 'id of the backup job')
    .argument('<path>', 'the file in the snapshot, as ls and find show it')
    .argument('[output]', 'where it goes: a file, or - for standard output; default its name, in this folder')
    .option('--force', 'replace a file that is there')
    .action(async (jobId: string, path: string, given: string | undefined, options: ApiOption & { force?: true }) => {
      const replaces = options.force ?? false;
      const output = given === '-' ? null : resolve(process.env['INIT_CWD'] ?? '.', given ?? nameOf(path));
      if (output !== null && !replaces) await refuseExisting(output);
      await withClient(surroundings, options, (client, signal) => download(client, { jobId, path, output, replaces, signal }));
    });
}

interface Download {
  readonly jobId: string;
  readonly path: string;
  /** Null for standard output. */
  readonly output: string | null;
  readonly replaces: boolean;
  readonly signal: AbortSignal;
}

async function download(client: ApiClient, { jobId, path, output, replaces, signal }: Download): Promise<void> {
  await using sink = output === null ? streamSink(process.stdout) : await openFileSink(output, { replaces });
  const bar = openProgressBar(nameOf(path), process.stderr, () => performance.now());
  try {
    const bytes = await getFile(client, { jobId, path, sink, signal, onProgress: (progress) => bar.show(progress) });
    bar.clear();
    if (output !== null) process.stderr.write(`holdfast: ${output}, ${formatBytes(bytes)}\n`);
  } finally {
    bar.clear();
  }
}

/** Said before anything is downloaded; what comes in between is seen at the end. */
async function refuseExisting(output: string): Promise<void> {
  try {
    await lstat(output);
  } catch (error) {
    if (errnoCode(error) === 'ENOENT') return;
    throw error;
  }
  throw new HoldfastError('conflict', `${output} is there already`, { hint: 'name another file, or replace it with --force' });
}

/** A name of a snapshot holds no slash and no control character as the API writes it. */
function nameOf(path: string): string {
  const name = basename(path);
  if (name === '' || name === '.' || name === '..') throw new InvalidArgumentError(`${path} is no file`);
  return name;
}

interface FindOptions extends ApiOption {
  readonly job?: string;
  readonly config?: string;
  readonly repository?: string;
  readonly path: string;
  readonly ignoreCase?: true;
}

function placeOf({ job, config, repository }: FindOptions): SearchedPlace {
  const places: SearchedPlace[] = [];
  if (job !== undefined) places.push({ jobId: job });
  if (config !== undefined) places.push({ configId: config });
  if (repository !== undefined) places.push({ repositoryId: repository });
  const [place, ...more] = places;
  if (place !== undefined && more.length === 0) return place;
  throw new HoldfastError('request_invalid', 'say where: one of --job, --config and --repository is needed', {
    hint: 'ids of jobs and configs are in GET /jobs and GET /configs',
  });
}

function withApi(command: Command): Command {
  return command.option('--api <url>', 'address of the API, when it is not that of the running `holdfast up`');
}

/** With a token of its own, which the operator's secret signs. Ctrl-C ends what is under way. */
async function withClient<T>(
  { environment, context }: Surroundings,
  { api }: ApiOption,
  use: (client: ApiClient, signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const { config, checkout } = context();
  using stop = watchStopSignals(environment, () => process.exit(1));
  const token = signAccessToken(
    { subject: 'operator', role: 'operator', entities: '*' },
    { secret: findJwtSecret(checkout, config), now: new Date(), lifetimeSeconds: tokenLifetimeSeconds },
  );
  return await use(openApiClient({ url: findApiUrl(checkout, api), token, signal: stop.signal }), stop.signal);
}
