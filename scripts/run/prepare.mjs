// Makes the checkout ready: dependencies as in the lockfile, and the Prisma client as in the schema. Both leave a stamp.
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { runChild } from './child-process.mjs';
import { hashFiles, installInputs, readStamp, writeStamp } from './input-hash.mjs';
import { acquireProcessLock } from './process-lock.mjs';
import { toolEnvironment, workspaceNode } from './workspace-node.mjs';

const schemaPath = 'prisma/schema.prisma';
const clientFolder = 'libs/database/generated';

export class PrepareError extends Error {}

const installStampPath = (root) => join(root, 'node_modules', '.holdfast-install');
const clientStampPath = (root) => join(root, clientFolder, '.holdfast-schema');

const installHash = (root) => hashFiles(root, installInputs(root), `${process.platform}-${process.arch}`);
// The lockfile decides the version of the generator.
const clientHash = (root) => hashFiles(root, [schemaPath, 'pnpm-lock.yaml'], 'prisma-client');

export const isInstalled = (root) => readStamp(installStampPath(root)) === installHash(root);
export const isGenerated = (root) =>
  existsSync(join(root, clientFolder, 'client.ts')) && readStamp(clientStampPath(root)) === clientHash(root);

const say = (text) => process.stderr.write(`holdfast: ${text}\n`);

async function mustSucceed(program, args, options, failure) {
  const result = await runChild(program, args, options);
  if (result.signal !== null) throw new PrepareError(`${failure}: ended by ${result.signal}`);
  if (result.code !== 0) throw new PrepareError(`${failure} (exit ${result.code}; its own message is above)`);
}

/** Standard output belongs to the command that follows, so what pnpm and prisma say goes to standard error. */
const outputToStderr = ['ignore', 2, 2];

async function install(root) {
  const { packageManager } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  const hash = installHash(root);
  const startedAt = Date.now();
  say('installing the dependencies (the first time takes some twenty seconds and needs the npm registry)');
  // --prefer-offline: a store that holds the packages is enough, and the lockfile's hashes are checked either way.
  // The purge question has no terminal to ask at, and node_modules holds nothing but what this command puts there.
  const args = ['-y', packageManager, 'install', '--frozen-lockfile', '--prefer-offline', '--config.confirmModulesPurge=false'];
  await mustSucceed(
    'npx',
    args,
    { cwd: root, stdio: outputToStderr },
    'the dependencies could not be installed; check the network, and `npm config get registry` behind a proxy or mirror',
  );
  writeStamp(installStampPath(root), hash);
  say(`dependencies installed in ${((Date.now() - startedAt) / 1000).toFixed(1)} s`);
}

async function generateClient(root) {
  const hash = clientHash(root);
  const node = workspaceNode(root);
  const env = {
    ...toolEnvironment(root),
    // Generating needs no schema engine, but Prisma downloads one unless it is told where it is: any program will do.
    PRISMA_SCHEMA_ENGINE_BINARY: node,
    CHECKPOINT_DISABLE: '1',
    PRISMA_HIDE_UPDATE_MESSAGE: '1',
  };
  say('generating the Prisma client');
  const prisma = join(root, 'node_modules', '.bin', 'prisma');
  await mustSucceed(
    prisma,
    ['generate', '--schema', schemaPath],
    { cwd: root, stdio: outputToStderr, env },
    'the Prisma client could not be generated',
  );
  writeStamp(clientStampPath(root), hash);
}

/** Does what is missing; of several processes one does it, and the others wait for it. */
export async function prepare(root) {
  if (isInstalled(root) && isGenerated(root)) return;
  mkdirSync(join(root, 'node_modules'), { recursive: true });
  const release = await acquireProcessLock(join(root, 'node_modules', '.holdfast-prepare.lock'), (pid) =>
    say(`waiting for process ${pid}, which is installing the dependencies`),
  );
  try {
    if (!isInstalled(root)) await install(root);
    if (!isGenerated(root)) await generateClient(root);
  } finally {
    release();
  }
}
