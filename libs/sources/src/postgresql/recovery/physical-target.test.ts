import { mkdir, mkdtemp, readFile, readdir, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { finishPhysicalTarget, preparePhysicalTarget, type PhysicalTargetOptions } from './physical-target.ts';
import { encodeSettings, recoverySettings, restoreCommand, type RecoveryStop } from './recovery-settings.ts';
import { encodeTablespaceMap, parseTablespaceMap } from './tablespace-map.ts';

let root: string;
let options: PhysicalTargetOptions;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'holdfast-target-'));
  await mkdir(join(root, 'wal'));
  options = {
    dataDir: join(root, 'data'),
    roots: [root],
    walDir: join(root, 'wal'),
    stop: { kind: 'end_of_wal' },
    timeline: 1,
    action: 'promote',
  };
});
afterEach(() => rm(root, { recursive: true }));

const label = 'START WAL LOCATION: 0/4000028 (file 000000010000000000000004)\nSTART TIMELINE: 1\n';

async function layBackup(files: Readonly<Record<string, string>> = {}): Promise<void> {
  const all = { PG_VERSION: '15\n', 'global/pg_control': 'x', backup_label: label, 'postgresql.conf': '', ...files };
  for (const [path, text] of Object.entries(all)) {
    await mkdir(join(options.dataDir, path, '..'), { recursive: true });
    await writeFile(join(options.dataDir, path), text);
  }
}

const read = (path: string): Promise<string> => readFile(join(options.dataDir, path), 'utf8');

describe('before anything is written', () => {
  const stops: [string, RecoveryStop][] = [
    ['a time of no calendar', { kind: 'time', timeUs: -1n, inclusive: true }],
    ['an LSN of none', { kind: 'lsn', lsn: 0n, inclusive: true }],
    ['a name too long', { kind: 'name', name: 'x'.repeat(64) }],
    ['a name with a line feed', { kind: 'name', name: "x\nshared_preload_libraries = 'evil'" }],
  ];
  test.each(stops)('%s is refused', async (_, stop) => {
    await expect(preparePhysicalTarget({ ...options, stop })).rejects.toMatchObject({ code: 'request_invalid' });
    expect(await readdir(root)).toEqual(['wal']);
  });

  const places: [string, (root: string) => Partial<PhysicalTargetOptions>, string][] = [
    ['a data folder outside the roots', () => ({ dataDir: '/holdfast-elsewhere' }), 'path_outside_roots'],
    ['a data folder by a link to outside', () => ({ dataDir: join(root, 'link', 'data') }), 'path_outside_roots'],
    ['a tablespace outside the roots', () => ({ tablespaces: new Map([['16385', '/holdfast-elsewhere']]) }), 'path_outside_roots'],
    ['a tablespace that is no OID', () => ({ tablespaces: new Map([['../x', join(root, 'x')]]) }), 'request_invalid'],
    ['a tablespace in the data folder', () => ({ tablespaces: new Map([['16385', join(options.dataDir, 'x')]]) }), 'request_invalid'],
    [
      'two tablespaces in one place',
      () => ({
        tablespaces: new Map([
          ['1', join(root, 'x')],
          ['2', join(root, 'x')],
        ]),
      }),
      'request_invalid',
    ],
    ['WAL in the data folder', () => ({ dataDir: root }), 'request_invalid'],
    ['WAL that is not there', () => ({ walDir: join(root, 'none') }), 'path_not_found'],
    ['a tablespace that is not empty', () => ({ tablespaces: new Map([['16385', join(root, 'full')]]) }), 'target_not_empty'],
    ['a data folder that is not empty', () => ({ dataDir: join(root, 'full') }), 'target_not_empty'],
    ['timeline 0', () => ({ timeline: 0 }), 'request_invalid'],
  ];
  test.each(places)('%s is refused', async (_, change, code) => {
    await symlink('/tmp', join(root, 'link'));
    await mkdir(join(root, 'full', 'something'), { recursive: true });
    await expect(preparePhysicalTarget({ ...options, ...change(root) })).rejects.toMatchObject({ code });
    expect((await readdir(root)).toSorted()).toEqual(['full', 'link', 'wal']);
  });
});

describe('a restored data folder', () => {
  test('is ready to start: settings, signal, modes, folders', async () => {
    const target = await preparePhysicalTarget({ ...options, stop: { kind: 'lsn', lsn: 0x1_0000_00a0n, inclusive: false } });
    await layBackup({
      'postmaster.pid': '1',
      'standby.signal': '',
      'postgresql.auto.conf': "work_mem = '8MB'\nprimary_conninfo = 'host=x'\n",
    });
    const { majorVersion, notes } = await finishPhysicalTarget(target);
    expect(majorVersion).toBe(15);
    expect(await read('postgresql.auto.conf')).toBe(
      [
        "work_mem = '8MB'",
        "#primary_conninfo = 'host=x'",
        `restore_command = 'cp ''${options.walDir}''/%f "%p"'`,
        "recovery_target_lsn = '1/A0'",
        "recovery_target_inclusive = 'off'",
        "recovery_target_timeline = '1'",
        "recovery_target_action = 'promote'",
        '',
      ].join('\n'),
    );
    const names = await readdir(options.dataDir);
    expect(names).toEqual(expect.arrayContaining(['recovery.signal', 'pg_hba.conf', 'pg_ident.conf', 'pg_wal', 'pg_tblspc']));
    expect(names).not.toContain('postmaster.pid');
    expect(names).not.toContain('standby.signal');
    expect((await stat(options.dataDir)).mode & 0o777).toBe(0o700);
    expect(notes.join('\n')).toContain('no longer sets primary_conninfo');
  });

  test('tablespaces go where they are told, or below it', async () => {
    const fast = join(root, 'fast disk');
    const target = await preparePhysicalTarget({ ...options, tablespaces: new Map([['16385', fast]]) });
    await layBackup({
      tablespace_map: '16385 /srv/old\n16386 /srv/other\n',
      'pg_tblspc/16385/PG_15_1/5/1': 'a',
      'pg_tblspc/16386/PG_15_1/5/2': 'b',
    });
    await finishPhysicalTarget(target);
    expect(await read('tablespace_map')).toBe(`16385 ${fast}\n16386 ${options.dataDir}/tablespaces/16386\n`);
    expect(await readFile(join(fast, 'PG_15_1/5/1'), 'utf8')).toBe('a');
    expect(await read('tablespaces/16386/PG_15_1/5/2')).toBe('b');
    expect(await readdir(join(options.dataDir, 'pg_tblspc'))).toEqual([]);
  });

  test('a tablespace that was in place at its source becomes one with a link', async () => {
    const target = await preparePhysicalTarget(options);
    await layBackup({ 'pg_tblspc/16385/PG_15_1/5/1': 'a' });
    await finishPhysicalTarget(target);
    expect(await read('tablespace_map')).toBe(`16385 ${options.dataDir}/tablespaces/16385\n`);
    expect(await read('tablespaces/16385/PG_15_1/5/1')).toBe('a');
  });

  const broken: [string, Record<string, string>, string?][] = [
    ['without a label', {}, 'backup_label'],
    ['without a control file', {}, 'global/pg_control'],
    ['without a version', {}, 'PG_VERSION'],
    ['that is incremental', { backup_label: `${label}INCREMENTAL FROM LSN: 0/2000028\nINCREMENTAL FROM TLI: 1\n` }],
    ['with something else among the tablespaces', { 'pg_tblspc/other/x': '' }],
    ['with a map that no server wrote', { tablespace_map: 'x' }],
  ];
  test.each(broken)('%s is refused, and says that it is not ready', async (_, files, missing) => {
    const target = await preparePhysicalTarget(options);
    await layBackup(files);
    if (missing !== undefined) await rm(join(options.dataDir, missing));
    await expect(finishPhysicalTarget(target)).rejects.toMatchObject({ code: 'postgresql_chain_broken' });
    expect(await readdir(options.dataDir)).not.toContain('recovery.signal');
  });
});

describe('what a server reads', () => {
  /** GUC_scanstr: doubled quotes, backslash escapes. */
  const readSetting = (line: string): string =>
    (/^\w+ = '(.*)'$/su.exec(line)?.[1] ?? '').replaceAll(/''|\\([\s\S])/gu, (_, escaped: string | undefined) => escaped ?? "'");

  test('any folder of WAL is named to the shell as it is', () => {
    const name = fc.string({
      unit: fc.constantFrom("'", '"', '\\', '%', '$', '`', ' ', 'a', ';', '*', 'é', '!'),
      minLength: 1,
      maxLength: 8,
    });
    fc.assert(
      fc.property(name, (text) => {
        const settings = recoverySettings({ stop: { kind: 'end_of_wal' }, timeline: 1, walDir: `/srv/${text}`, action: 'promote' });
        const line = encodeSettings(settings).split('\n')[0] ?? '';
        const command = readSetting(line);
        expect(command).toBe(restoreCommand(`/srv/${text}`));
        // As the server, then the shell, take it: within single quotes only the single quote is special.
        const quoted = command
          .replaceAll(/%(.)/gu, (whole, letter: string) => (letter === '%' ? '%' : whole))
          .slice('cp '.length, -'/%f "%p"'.length);
        expect(quoted.replaceAll(`'\\''`, '\u0000').replaceAll("'", '').replaceAll('\u0000', "'")).toBe(`/srv/${text}`);
      }),
    );
  });

  test('times are written to the microsecond, with their zone', () => {
    const time = recoverySettings({
      stop: { kind: 'time', timeUs: 1_777_597_200_123_456n, inclusive: true },
      timeline: 2,
      walDir: '/w',
      action: 'pause',
    });
    expect(encodeSettings(time)).toContain("recovery_target_time = '2026-05-01 01:00:00.123456+00'");
  });

  test('a map of tablespaces comes back as it was', () => {
    const path = fc.string({ unit: fc.constantFrom('\\', '\n', '\r', ' ', 'a', '/'), minLength: 1 });
    fc.assert(
      fc.property(fc.dictionary(fc.integer({ min: 1, max: 99_999 }).map(String), path), (entries) => {
        const map = new Map(Object.entries(entries));
        expect(parseTablespaceMap(encodeTablespaceMap(map))).toEqual(map);
      }),
    );
  });
});
