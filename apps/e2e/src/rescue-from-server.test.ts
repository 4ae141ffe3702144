import { mkdir, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { startEmbeddedPostgres, type EmbeddedPostgres } from '@holdfast/database/embedded-postgres';
import { startRemotePlace, type RemotePlace } from '@holdfast/storage/testing/remote-places';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Row } from './harness/api-client.ts';
import { exitOf, openHoldfastCommands, untilSo } from './harness/holdfast-command.ts';
import { describeTree, makeDataTree } from './harness/data-tree.ts';
import { startSystem, type System } from './harness/system.ts';

// The whole machine of a service is gone. Its repositories are at servers, and the new service has a database of the operator's own.

const password = 'written down elsewhere';
const waitMs = 300_000;
const servers: Record<string, string> = { HOLDFAST_STORAGE_HOSTS: '127.0.0.1' };
const places: { sftp?: RemotePlace; s3?: RemotePlace } = {};
const commands = openHoldfastCommands();

let folder: string;
let passwordFile: string;
let source: string;
let documents: string[];
let database: EmbeddedPostgres;
let dataBackup: Row;
const ownBackups: Row[] = [];
/** Nothing of these may be said: the credentials by their parts, and the passwords. */
const secrets: string[] = [password];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'holdfast-rescue-server-'));
  passwordFile = join(folder, 'password');
  await writeFile(passwordFile, `${password}\n`, { mode: 0o600 });
  for (const name of ['sources', 'repositories', 'targets']) await mkdir(join(folder, name));
  places.sftp = await startRemotePlace('sftp');
  places.s3 = await startRemotePlace('s3');
  const system = await startSystem({ queue: 'postgresql', workerCount: 1, environment: servers });
  try {
    await fillService(system);
  } finally {
    await system.stop();
  }
  await expect(stat(dirname(system.repositories))).rejects.toThrow('ENOENT');
  database = await startEmbeddedPostgres({ dataDir: join(folder, 'postgresql'), log: () => undefined });
  secrets.push(new URL(database.url).password);
}, waitMs);
afterAll(async () => {
  await commands.end();
  await database?.stop();
  for (const place of Object.values(places)) await place[Symbol.asyncDispose]();
  await rm(folder, { recursive: true, force: true });
});

/** As a config says it, and a place file too. A repository may lie neither above nor below another: each has a folder of its own. */
function atServer(kind: keyof typeof places, name = 'system'): { storageOptions: object; storageCredentials: object } {
  const place = places[kind];
  if (place === undefined) throw new Error(`there is no server of ${kind}`);
  const options = place.options();
  const storageOptions = options.type === 'sftp' ? { ...options, path: `${options.path}/${name}` } : options;
  return { storageOptions, storageCredentials: place.credentials() };
}

/** A tenant with data at one server; the service's own database at that one and at another. */
async function fillService({ api, sources }: System): Promise<void> {
  source = join(sources, 'documents');
  await mkdir(source);
  await makeDataTree(source, [300_000]);
  documents = await describeTree(source);
  const tenant = await api.post('/entities', { name: 'shop' });
  const dataConfig = await api.post('/configs', {
    businessEntityId: tenant.id,
    name: 'documents',
    backupType: 'file_system',
    source: { type: 'file_system', paths: [source] },
    retentionDays: 30,
    encryptionKey: password,
    storageLocation: 'sftp',
    ...atServer('sftp', 'documents'),
  });
  dataBackup = await api.finished(`/jobs/${(await api.post('/jobs', { backupConfigId: dataConfig.id })).id}`);
  expect(dataBackup.status, dataBackup.errorMessage ?? '').toBe('completed');
  const made = await api.post('/entities/system', {});
  for (const kind of ['sftp', 's3'] as const) {
    const config = await api.post('/configs', {
      businessEntityId: made.id,
      name: `the service itself, at ${kind}`,
      backupType: 'application_data',
      source: { type: 'own_database' },
      retentionDays: 30,
      encryptionKey: password,
      storageLocation: kind,
      ...atServer(kind),
    });
    const own = await api.finished(`/jobs/${(await api.post('/jobs', { backupConfigId: config.id })).id}`);
    expect(own.status, own.errorMessage ?? '').toBe('completed');
    ownBackups.push(own);
    for (const secret of Object.values(atServer(kind).storageCredentials)) secrets.push(...linesOf(String(secret)));
  }
}

/** Lines of a key are what a careless message would hold; its first and last ones are the same for all keys. */
const linesOf = (secret: string): string[] => secret.split('\n').filter((line) => line.length > 8 && !line.startsWith('-----'));

function expectNoSecret(text: string): void {
  expect(secrets.length).toBeGreaterThan(5);
  for (const secret of secrets) expect(text.includes(secret), `a secret of ${secret.length} letters is in: ${text}`).toBe(false);
}

async function writePlaceFile(name: string, content: unknown): Promise<string> {
  const path = join(folder, name);
  await writeFile(path, typeof content === 'string' ? content : JSON.stringify(content), { mode: 0o600 });
  return path;
}

const rescueWords = (placeFile: string, stateFolder: string): string[] => [
  'rescue',
  '--repository',
  placeFile,
  '--password-file',
  passwordFile,
  '--state-dir',
  stateFolder,
];

test('builds the service from a repository at an SFTP server, in a database of the operator', async () => {
  const placeFile = await writePlaceFile('sftp.json', atServer('sftp'));
  const stateFolder = join(folder, 'state');
  const external = { DATABASE_URL: database.url };
  const killed = commands.start(rescueWords(placeFile, stateFolder), external);
  await untilSo(killed, 'rows are being put back', () => killed.output().includes('table ') || killed.exited());
  await killed.end('SIGKILL');
  const rescue = commands.start(rescueWords(placeFile, stateFolder), external);
  expect(await exitOf(rescue), rescue.output()).toBe(0);
  expect(rescue.output()).toContain('export HOLDFAST_STORAGE_HOSTS=127.0.0.1');
  expect(rescue.output()).toContain('(and DATABASE_URL, as it is set now)');
  expect(rescue.output()).toMatch(/opens {5}sftp:/u);
  expectNoSecret(killed.output() + rescue.output());
  await expect(stat(join(stateFolder, 'postgresql'))).rejects.toThrow('ENOENT');

  const { process, api } = await commands.up(stateFolder, {
    ...external,
    ...servers,
    HOLDFAST_SOURCE_ROOTS: join(folder, 'sources'),
    HOLDFAST_STORAGE_ROOTS: join(folder, 'repositories'),
    HOLDFAST_TARGET_ROOTS: join(folder, 'targets'),
  });
  try {
    // The rows hold the credentials, sealed: the service reaches its servers without being told them again.
    const target = join(folder, 'targets', 'recovered');
    const asked = await api.post('/recovery', { backupJobId: dataBackup.id, recoveryType: 'full', targetLocation: target });
    expect(await api.finished(`/recovery/${asked.id}`)).toMatchObject({ status: 'completed', errorMessage: null });
    expect(await describeTree(join(target, source))).toEqual(documents);
    const own = await api.finished(`/jobs/${ownBackups[0]?.id ?? ''}`);
    expect(own).toMatchObject({ status: 'completed', snapshotId: ownBackups[0]?.snapshotId });
    expectNoSecret(await readFile(join(stateFolder, 'logs', 'worker-1.log'), 'utf8'));
  } finally {
    expect(await process.end('SIGTERM')).toBe(0);
  }
  expectNoSecret(process.output());

  // Now it has rows: nothing is ever replaced.
  const again = commands.start(rescueWords(placeFile, join(folder, 'another-state')), external);
  expect(await exitOf(again)).toBe(1);
  expect(again.output()).toContain('the database is not empty');
  expectNoSecret(again.output());
}, 300_000);

test('builds it from a repository at an S3 server too', async () => {
  const placeFile = await writePlaceFile('s3.json', atServer('s3'));
  const rescue = commands.start(rescueWords(placeFile, join(folder, 'state-s3')));
  expect(await exitOf(rescue), rescue.output()).toBe(0);
  expect(rescue.output()).toMatch(/opens {5}s3:/u);
  expectNoSecret(rescue.output());
}, 300_000);

test('says what is wrong with a place file and repeats nothing of it', async () => {
  const { storageOptions, storageCredentials } = atServer('sftp');
  const answerTo = async (content: unknown): Promise<string> => {
    const rescue = commands.start(rescueWords(await writePlaceFile('wrong.json', content), join(folder, 'never')));
    expect(await exitOf(rescue)).toBe(1);
    expectNoSecret(rescue.output());
    return rescue.output();
  };
  const whole = JSON.stringify({ storageOptions, storageCredentials });
  expect(await answerTo(whole.slice(0, -20))).toContain('is no JSON');
  expect(await answerTo({ storageOptions, credentials: storageCredentials })).toContain('does not fit');
  expect(await answerTo({ storageOptions, storageCredentials: { key: storageCredentials } })).toContain(
    'storage of type sftp: storageCredentials: ',
  );
  expect(await answerTo({ storageOptions })).toContain('storageCredentials: ');
  expect(await answerTo({ storageOptions, storageCredentials: { privateKey: 'not a key of anybody' } })).not.toContain(
    'not a key of anybody',
  );
  const strangers = await startRemotePlace('sftp');
  try {
    expect(await answerTo({ storageOptions, storageCredentials: strangers.credentials() })).toContain('holdfast: ');
  } finally {
    await strangers[Symbol.asyncDispose]();
  }
  await expect(stat(join(folder, 'never'))).rejects.toThrow('ENOENT');
}, 120_000);
