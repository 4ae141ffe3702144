import { expect, test } from 'vitest';
import { parseLsn } from '../lsn.ts';
import { copyDoneMessage, copyOutMessage, message, readyMessage, resultSet, startScriptedServer } from '../testing/scripted-server.ts';
import { tarArchive, type ArchivedFile } from '../testing/tar-archive.ts';
import { formatBackupManifest } from './backup-manifest.ts';
import { baseBackupCommand } from './base-backup-command.ts';
import { receiveBaseBackup, type BaseBackupEntry } from './base-backup.ts';
import { formatCrc32c } from './crc32c.ts';
import { openChunkInspector, subjectOf } from './piece-inspector.ts';

const damaged = expect.objectContaining({ code: 'postgresql_stream_damaged' });

const inSpace: ArchivedFile[] = [
  { name: 'PG_15_1/', type: '5' },
  { name: 'PG_15_1/5/16390', content: oldPages(8_192 * 3, 's') },
];
const inBase: ArchivedFile[] = [
  { name: 'backup_label', content: Buffer.from('START WAL LOCATION') },
  { name: 'base/', type: '5' },
  { name: 'base/5/empty' },
  { name: 'base/5/16384', content: oldPages(100_000, 'b') },
];

const entries = (root: string, files: readonly ArchivedFile[]) =>
  files
    .filter(({ type }) => type !== '5')
    .map(({ name, content = Buffer.alloc(0) }) => ({
      path: root + name,
      sizeBytes: content.length,
      lastModified: '2026-11-25 18:00:00 GMT',
      checksumAlgorithm: 'CRC32C',
      checksum: checksumOf(content),
    }));

const manifest = formatBackupManifest({
  version: 1,
  systemIdentifier: null,
  files: [...entries('pg_tblspc/16389/', inSpace), ...entries('', inBase)],
  walRanges: [{ timeline: 3, startLsn: parseLsn('0/2000028'), endLsn: parseLsn('0/2000100') }],
});

const start = resultSet(['recptr', 'tli'], [['0/2000028', '3']]);
const spaces = resultSet(
  ['spcoid', 'spclocation', 'size'],
  [
    ['16389', '/srv/space', '24'],
    [null, null, '98'],
  ],
);
const end = resultSet(['recptr', 'tli'], [['0/2000100', '3']]);

/** The COPY of 15 and newer, in messages of `pieceBytes`. */
function framed(archives: readonly (readonly [string, Buffer])[], manifestBytes: Buffer, pieceBytes = 32_768): Buffer {
  const data = (bytes: Buffer): Buffer[] =>
    pieces(bytes, pieceBytes).map((piece) => message('d', Buffer.concat([Buffer.from('d'), piece])));
  const progress = Buffer.alloc(9, 'p');
  progress.writeBigInt64BE(120_000n, 1);
  const parts = archives.flatMap(([name, bytes]) => [
    message('d', Buffer.from(`n${name}\0/srv\0`)),
    ...data(bytes),
    message('d', progress),
  ]);
  return Buffer.concat([copyOutMessage, ...parts, message('d', Buffer.from('m')), ...data(manifestBytes), copyDoneMessage]);
}

/** The COPYs of 14. */
function unframed(archives: readonly Buffer[], manifestBytes: Buffer): Buffer {
  const copies = [...archives, manifestBytes].map((bytes) =>
    Buffer.concat([copyOutMessage, ...pieces(bytes, 32_768).map((piece) => message('d', piece)), copyDoneMessage]),
  );
  return Buffer.concat(copies);
}

const modern = (base = tarArchive(inBase), space = tarArchive(inSpace), bytes = manifest): Buffer =>
  framed(
    [
      ['16389.tar', space],
      ['base.tar', base],
    ],
    bytes,
  );

test.each([
  ['15', '15.18', modern()],
  [
    '15 in tiny messages',
    '15.18',
    framed(
      [
        ['16389.tar', tarArchive(inSpace)],
        ['base.tar', tarArchive(inBase)],
      ],
      manifest,
      7,
    ),
  ],
  ['14', '14.23', unframed([tarArchive(inSpace, false), tarArchive(inBase, false)], manifest)],
])('the framing of %s gives the same entries', async (_, version, copies) => {
  const progress: number[] = [];
  const read = await take(copies, { version, progress });
  expect(read.map(({ content: _content, ...entry }) => entry)).toMatchObject([
    { kind: 'start', startLsn: 0x2000028n, timeline: 3, estimatedBytes: 122 * 1024, arePagesChecked: true },
    { kind: 'directory', path: 'pg_tblspc/16389/PG_15_1', tablespaceOid: 16_389 },
    { kind: 'file', path: 'pg_tblspc/16389/PG_15_1/5/16390', tablespaceOid: 16_389, sizeBytes: 24_576 },
    { kind: 'file', path: 'backup_label', tablespaceOid: null, mode: 0o600, modifiedS: 1_700_000_000 },
    { kind: 'directory', path: 'base' },
    { kind: 'file', path: 'base/5/empty', sizeBytes: 0 },
    { kind: 'file', path: 'base/5/16384', sizeBytes: 100_000 },
    { kind: 'manifest', bytes: manifest },
    // Not one page has a checksum, and the last file's end is no page.
    { kind: 'end', endLsn: 0x2000100n, timeline: 3, checkedPageCount: 15, badPageCount: 15 },
  ]);
  const contents = read.flatMap(({ content }) => (content === undefined ? [] : [content]));
  expect(contents.map((content) => content.length)).toEqual([24_576, 18, 0, 100_000]);
  expect(contents[3]?.equals(oldPages(100_000, 'b'))).toBe(true);
  expect(progress.at(-1)).toBeGreaterThan(100_000);
});

const withFile = (changed: ArchivedFile): ArchivedFile[] => [...inBase.slice(0, -1), changed];
test.each([
  ['another content', modern(tarArchive(withFile({ name: 'base/5/16384', content: Buffer.alloc(100_000, 'c') })))],
  ['a shorter file', modern(tarArchive(withFile({ name: 'base/5/16384', content: Buffer.alloc(99_999, 'b') })))],
  ['a missing file', modern(tarArchive(inBase.slice(0, -1)))],
  ['a file too much', modern(tarArchive([...inBase, { name: 'base/5/16385' }]))],
  ['an archive that is cut off', modern(tarArchive(inBase).subarray(0, -2_000))],
  ['a manifest that was changed', modern(undefined, undefined, Buffer.from(manifest.toString().replace('24576', '24577')))],
  ['no manifest', framed([['base.tar', tarArchive(inBase)]], Buffer.alloc(0))],
  ['an archive of no tablespace', framed([['pg_wal.tar', tarArchive(inSpace)]], manifest)],
  ['an unknown message', Buffer.concat([copyOutMessage, message('d', Buffer.from('?'))])],
  ['an empty message', Buffer.concat([copyOutMessage, message('d')])],
])('%s is refused before the end is told', async (_, copies) => {
  await expect(take(copies)).rejects.toThrow(damaged);
});

test('a content that was not taken is a defect of the taker', async () => {
  await using server = await startServer(modern());
  const taking = (async () => {
    for await (const _ of receiveBaseBackup(server.wire, { label: 'x', checkpoint: 'fast' }));
  })();
  await expect(taking).rejects.toThrow(expect.objectContaining({ code: 'internal' }));
});

test('the command of each version', () => {
  const options = { label: "it's", checkpoint: 'fast', isIncremental: false, includesWal: false } as const;
  expect(baseBackupCommand(140_023, { ...options, maxRateKibPerS: 64 })).toBe(
    "BASE_BACKUP LABEL 'it''s' PROGRESS FAST NOWAIT MAX_RATE 64 TABLESPACE_MAP NOVERIFY_CHECKSUMS MANIFEST 'yes' MANIFEST_CHECKSUMS 'CRC32C'",
  );
  expect(baseBackupCommand(140_023, { ...options, checkpoint: 'spread' })).not.toContain('FAST');
  expect(baseBackupCommand(140_023, { ...options, includesWal: true })).toContain(' FAST WAL NOWAIT ');
  expect(baseBackupCommand(180_004, { ...options, includesWal: true })).toContain(", CHECKPOINT 'fast', WAL, WAIT 0, ");
  expect(baseBackupCommand(180_004, { ...options, checkpoint: 'spread', isIncremental: true, maxRateKibPerS: 64 })).toBe(
    "BASE_BACKUP (LABEL 'it''s', PROGRESS, CHECKPOINT 'spread', WAIT 0, TABLESPACE_MAP, MAX_RATE 64, VERIFY_CHECKSUMS 0, MANIFEST 'yes', MANIFEST_CHECKSUMS 'CRC32C', INCREMENTAL)",
  );
});

type Taken = Omit<BaseBackupEntry, 'content'> & { content?: Buffer };

async function take(copies: Buffer, { version = '15.18', progress = [] as number[] } = {}): Promise<Taken[]> {
  await using server = await startServer(copies, version);
  const taken: Taken[] = [];
  const onProgress = (doneBytes: number): unknown => progress.push(doneBytes);
  for await (const entry of receiveBaseBackup(server.wire, { label: 'x', checkpoint: 'fast', onProgress })) {
    if (entry.kind !== 'file') {
      taken.push(entry);
      continue;
    }
    const slices: Uint8Array[] = [];
    for await (const slice of entry.content) slices.push(slice);
    taken.push({ ...entry, content: Buffer.concat(slices) });
  }
  return taken;
}

function startServer(copies: Buffer, version = '15.18'): ReturnType<typeof startScriptedServer> {
  const shown: Record<string, string> = { 'SHOW data_checksums': 'on', 'SHOW block_size': '8192' };
  return startScriptedServer(
    (sql) => (shown[sql] === undefined ? [start, spaces, copies, end, readyMessage] : [resultSet(['value'], [[shown[sql]]]), readyMessage]),
    { version },
  );
}

/** As the server writes it. */
function checksumOf(content: Uint8Array): string {
  return formatCrc32c(openChunkInspector().inspect(content, subjectOf(false, 0n))[0] ?? 0);
}

/** Something that says it was written long ago. */
function oldPages(sizeBytes: number, letter: string): Buffer {
  const pages = Buffer.alloc(sizeBytes, letter);
  for (let at = 0; at < sizeBytes; at += 8_192) pages.fill(0, at, at + 8);
  return pages;
}

function pieces(bytes: Buffer, pieceBytes: number): Buffer[] {
  return Array.from({ length: Math.ceil(bytes.length / pieceBytes) }, (_, index) =>
    bytes.subarray(index * pieceBytes, (index + 1) * pieceBytes),
  );
}
