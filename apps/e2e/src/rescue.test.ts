import { cp, mkdir, mkdtemp, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { ApiClient, Row } from './harness/api-client.ts';
import { describeTree, makeDataTree } from './harness/data-tree.ts';
import { eventually } from './harness/eventually.ts';
import { exitOf, openHoldfastCommands, untilSo } from './harness/holdfast-command.ts';
import { createTenant, listFiles, startSystem, type System, type Tenant } from './harness/system.ts';

// A service is lost with its machine, all but the repositories. One of them, and its password, bring it back.

const password = 'the only thing that somebody remembers';
const waitMs = 120_000;

let folder: string;
let roots: { sources: string; repositories: string; targets: string };
let passwordFile: string;
let tenant: Tenant;
let documents: string[];
let oldBackup: Row;
let pending: Row;
let ownBackup: Row;
let before: Record<string, Row[]>;
const commands = openHoldfastCommands();

const lists = ['/entities', '/configs', '/repositories', '/jobs', '/dr-plans', '/copy-configs', '/maintenance/cleanup'] as const;
const readLists = async (api: ApiClient): Promise<Record<string, Row[]>> => {
  const read = lists.map(async (path) => [path, (await api.get(`${path}?limit=100`)).items] as const);
  return Object.fromEntries(await Promise.all(read));
};

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'holdfast-rescue-'));
  passwordFile = join(folder, 'password');
  await writeFile(passwordFile, `${password}\n`, { mode: 0o600 });
  const system = await startSystem({ queue: 'postgresql', workerCount: 1 });
  try {
    await fillService(system);
    // What is left of it: the repositories, and the data that its tenants still have.
    await cp(system.repositories, join(folder, 'kept-repositories'), { recursive: true, preserveTimestamps: true });
    await cp(system.sources, join(folder, 'kept-sources'), { recursive: true, preserveTimestamps: true });
    roots = system;
  } finally {
    await system.stop();
  }
  await expect(stat(roots.repositories)).rejects.toThrow('ENOENT');
  await mkdir(dirname(roots.repositories));
  await rename(join(folder, 'kept-repositories'), roots.repositories);
  await rename(join(folder, 'kept-sources'), roots.sources);
  await mkdir(roots.targets);
}, waitMs);
afterAll(async () => {
  await commands.end();
  await rm(folder, { recursive: true, force: true });
  if (roots !== undefined) await rm(dirname(roots.repositories), { recursive: true, force: true });
});

async function fillService(system: System): Promise<void> {
  const { api } = system;
  const source = join(system.sources, 'documents');
  await mkdir(source);
  await makeDataTree(source, [400_000]);
  documents = await describeTree(source);
  tenant = await createTenant(system, { name: 'tenant', sourcePath: source });
  await tenant.createConfig({ name: 'each year', schedule: '0 4 1 1 *', timeZone: 'Europe/Berlin', retentionDays: 400 });
  await api.post('/dr-plans', { businessEntityId: tenant.entityId, name: 'flood', priority: 1, rto: 60, rpo: 240 });
  oldBackup = await api.finished(`/jobs/${(await api.post('/jobs', { backupConfigId: tenant.configId })).id}`);
  pending = await api.post('/jobs', { backupConfigId: tenant.configId, execute: false });

  const made = await api.post('/entities/system', {});
  const config = await api.post('/configs', {
    businessEntityId: made.id,
    name: 'the service itself',
    backupType: 'application_data',
    source: { type: 'own_database' },
    retentionDays: 30,
    encryptionKey: password,
    storageLocation: 'local',
    storageOptions: { type: 'local', path: join(system.repositories, 'system') },
  });
  ownBackup = await api.finished(`/jobs/${(await api.post('/jobs', { backupConfigId: config.id })).id}`);
  expect(ownBackup.status, ownBackup.errorMessage ?? '').toBe('completed');
  before = await readLists(api);
}

const rescueWords = (stateFolder: string, ...more: string[]) => [
  'rescue',
  '--repository',
  join(roots.repositories, 'system'),
  '--password-file',
  passwordFile,
  '--state-dir',
  stateFolder,
  ...more,
];
const rescue = (stateFolder: string, ...more: string[]) => commands.start(rescueWords(stateFolder, ...more));

/** Names and times of everything in the repositories: what a rescue must leave as it is. */
async function repositoryFiles(): Promise<string[]> {
  const files = await listFiles(roots.repositories);
  const described = files.map(async (path) => `${path} ${(await stat(path)).mtimeMs} ${(await stat(path)).size}`);
  return (await Promise.all(described)).toSorted();
}

const up = (stateFolder: string, more: Record<string, string> = {}) =>
  commands.up(stateFolder, {
    HOLDFAST_SOURCE_ROOTS: roots.sources,
    HOLDFAST_STORAGE_ROOTS: roots.repositories,
    HOLDFAST_TARGET_ROOTS: roots.targets,
    ...more,
  });

/** Without what says when somebody last looked, and when the backup that was running ended. */
const settled = (rows: Row[] | undefined): unknown[] =>
  (rows ?? []).map(({ probedAt: _at, probeLatencyMs: _ms, updatedAt: _updated, lastBackupAt: _ended, ...row }) => row);

describe('holdfast rescue', () => {
  test('builds a service whose jobs, configs, plans and schedules are all there, from a repository and its password', async () => {
    const stateFolder = join(folder, 'state');
    const untouched = await repositoryFiles();
    const killed = rescue(stateFolder);
    await untilSo(killed, 'rows are being put back', () => killed.output().includes('table ') || killed.exited());
    await killed.end('SIGKILL');
    const early = commands.start(['up', '--no-tour'], { HOLDFAST_STATE_DIR: stateFolder });
    expect(await exitOf(early)).toBe(1);
    expect(early.output()).toContain('a rescue was begun in');

    const second = rescue(stateFolder);
    expect(await exitOf(second), second.output()).toBe(0);
    expect(second.output()).toContain('going on with the rescue that was begun at');
    expect(second.output()).toMatch(/opens {5}local:.*\/system/u);
    expect(second.output()).toContain('1 runs are owed');
    expect(second.output()).not.toContain(password);
    expect(await repositoryFiles()).toEqual(untouched);
    const third = rescue(stateFolder);
    expect(await exitOf(third)).toBe(1);
    expect(third.output()).toContain('was rescued at');

    const { process, api } = await up(stateFolder);
    try {
      // The backup that was running in its own rows finds the snapshot that it wrote.
      const own = await api.finished(`/jobs/${ownBackup.id}`);
      expect(own).toMatchObject({ status: 'completed', snapshotId: ownBackup.snapshotId });
      const after = await readLists(api);
      for (const path of lists.filter((each) => each !== '/jobs')) expect(settled(after[path]), path).toEqual(settled(before[path]));
      const others = (rows: Row[] | undefined) => (rows ?? []).filter(({ id }) => id !== ownBackup.id);
      expect(others(after['/jobs'])).toEqual(others(before['/jobs']));
      expect(after['/jobs']?.map(({ id, status }) => [id, status])).toContainEqual([pending.id, 'pending']);

      const target = join(roots.targets, 'recovered');
      const asked = await api.post('/recovery', { backupJobId: oldBackup.id, recoveryType: 'full', targetLocation: target });
      expect((await api.finished(`/recovery/${asked.id}`)).status).toBe('completed');
      expect(await describeTree(join(target, roots.sources, 'documents'))).toEqual(documents);
      const verification = await api.post(`/jobs/${oldBackup.id}/verify`, { verificationType: 'checksum' });
      expect((await api.finished(`/verifications/${verification.id}`)).status).toBe('completed');
      const fresh = await api.finished(`/jobs/${(await api.post('/jobs', { backupConfigId: tenant.configId })).id}`);
      expect(fresh).toMatchObject({ status: 'completed', metadata: { parentId: oldBackup.snapshotId } });
      // A schedule comes back by itself: its next tick is told by the queue's board, and by the log of who set it.
      const log = join(stateFolder, 'logs', 'worker-1.log');
      const yearly = before['/configs']?.find(({ name }) => name === 'each year')?.id ?? 'none';
      await eventually('the schedule is set', async () => (await readFile(log, 'utf8')).includes(yearly) || undefined, waitMs);
    } finally {
      expect(await process.end('SIGTERM')).toBe(0);
    }
  }, 300_000);

  test('tells what is not where the rows say, moves what it is told of, and refuses a folder with anything in it', async () => {
    const moved = join(folder, 'elsewhere');
    await rename(roots.repositories, moved);
    const where = ['rescue', '--repository', join(moved, 'system'), '--password-file', passwordFile];
    const inPlace = join(folder, 'unmoved');
    const unmoved = commands.start([...where, '--state-dir', inPlace]);
    expect(await exitOf(unmoved), unmoved.output()).toBe(2);
    expect(unmoved.output()).toContain('NOT THERE');
    expect(unmoved.output()).toContain(`--moved ${roots.repositories}/system=${moved}/system`);

    const stateFolder = join(folder, 'moved');
    const words = [...where, '--state-dir', stateFolder, '--moved', `${roots.repositories}=${moved}`, '--paused'];
    const told = commands.start(words);
    expect(await exitOf(told), told.output()).toBe(0);
    const { process, api } = await up(stateFolder, { HOLDFAST_STORAGE_ROOTS: moved });
    try {
      expect((await api.get('/repositories')).items.map(({ storageOptions }) => String(Object(storageOptions).path)).toSorted()).toEqual([
        join(moved, 'system'),
        join(moved, 'tenant'),
      ]);
      expect((await api.get(`/jobs/${ownBackup.id}`)).status).toBe('queued');
      await api.post('/service/start', {});
      expect((await api.finished(`/jobs/${ownBackup.id}`)).snapshotId).toBe(ownBackup.snapshotId);
      const target = join(roots.targets, 'recovered-after-move');
      const asked = await api.post('/recovery', { backupJobId: oldBackup.id, recoveryType: 'full', targetLocation: target });
      expect((await api.finished(`/recovery/${asked.id}`)).status).toBe('completed');
      expect(await describeTree(join(target, roots.sources, 'documents'))).toEqual(documents);
    } finally {
      expect(await process.end('SIGTERM')).toBe(0);
    }

    const full = join(folder, 'full');
    await mkdir(full);
    await writeFile(join(full, 'somebody.txt'), 'mine');
    const refused = commands.start([...where, '--state-dir', full]);
    expect(await exitOf(refused)).toBe(1);
    expect(refused.output()).toContain('holds something already (somebody.txt');
    expect(await readdir(full)).toEqual(['somebody.txt']);
    await rename(moved, roots.repositories);
  }, 300_000);

  test('says what is wrong with a password, a repository and a snapshot', async () => {
    const stateFolder = join(folder, 'never');
    const wrong = join(folder, 'wrong-password');
    await writeFile(wrong, 'guess');
    const system = join(roots.repositories, 'system');
    const answers = async (...words: string[]): Promise<string> => {
      const process = commands.start(['rescue', '--state-dir', stateFolder, ...words]);
      expect(await exitOf(process)).toBe(1);
      return process.output();
    };
    expect(await answers('--repository', system, '--password-file', wrong)).toContain('opens with this password');
    expect(await answers('--repository', join(folder, 'nothing'), '--password-file', passwordFile)).toContain(
      'cannot be looked at (ENOENT)',
    );
    expect(await answers('--repository', wrong, '--password-file', passwordFile)).toContain('is no JSON');
    expect(await answers('--repository', folder, '--password-file', passwordFile)).toContain('there is no repository at');
    expect(await answers('--repository', system, '--password-file', passwordFile, '--snapshot', 'ffffffff')).toContain(
      "of Holdfast's own database there are:",
    );
    await writeFile(wrong, tenant.password);
    const data = await answers('--repository', tenant.repositoryPath, '--password-file', wrong);
    expect(data).toContain("none of Holdfast's own database");
    expect(data).toContain('docs/adopting.md');
    await expect(stat(stateFolder)).rejects.toThrow('ENOENT');
  }, 120_000);
});
