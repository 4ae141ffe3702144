import { createHash } from 'node:crypto';
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { formatBackupManifest } from '../base-backup/backup-manifest.ts';
import { combineBackups, type BackupEntry, type CombinedWriter, type ListedBackupReader } from './combine.ts';
import { blockSizeBytes, incrementalPathOf, plainPathOf } from './incremental-file.ts';

const never = new AbortController().signal;
const modified = new Date('2026-05-01T03:00:00.700Z');
const relation = 'base/5/16384';

type Files = ReadonlyMap<string, Buffer>;

function memoryBackup(files: Files): ListedBackupReader {
  const entries = async function* (): AsyncGenerator<BackupEntry> {
    for (const folder of ['base', 'base/5', 'global']) yield { path: folder, type: 'dir', modified };
    for (const path of files.keys()) yield { path, type: 'file', modified };
  };
  return {
    entries,
    open: async (path) => {
      const bytes = files.get(path);
      if (bytes === undefined) return null;
      return {
        sizeBytes: bytes.length,
        // Short reads are allowed, so there are some.
        read: async (buffer, position) => bytes.copy(buffer, 0, position, position + Math.min(buffer.length, 12_288)),
        close: async () => undefined,
      };
    },
  };
}

function memoryWriter(files: Map<string, Buffer>): CombinedWriter {
  return {
    makeDirectory: async () => undefined,
    createFile: async (path) => {
      const pieces: Buffer[] = [];
      return {
        write: async (piece) => void pieces.push(Buffer.from(piece)),
        close: async () => void files.set(path, Buffer.concat(pieces)),
      };
    },
  };
}

const control = (identifier = 7n): Buffer => {
  const bytes = Buffer.alloc(8192);
  bytes.writeBigUInt64LE(identifier);
  return bytes;
};

const manifest = formatBackupManifest({
  version: 2,
  systemIdentifier: 7_320_280_665_284_567_118n,
  files: [],
  walRanges: [{ timeline: 1, startLsn: 0x4000028n, endLsn: 0x4000100n }],
});

function label(start: number, from: number | null): Buffer {
  const lines = [
    `START WAL LOCATION: 0/${start}000028 (file 00000001000000000000000${start})`,
    'START TIME: 2026-05-01 03:00:00 UTC',
    'START TIMELINE: 1',
    ...(from === null ? [] : [`INCREMENTAL FROM LSN: 0/${from}000028`, 'INCREMENTAL FROM TLI: 1']),
  ];
  return Buffer.from(`${lines.join('\n')}\n`);
}

const chainFiles = (index: number, files: readonly (readonly [string, Buffer])[]): Files =>
  new Map([
    ['backup_label', label(index + 2, index === 0 ? null : index + 1)],
    ['backup_manifest', manifest],
    ['global/pg_control', control()],
    ...files,
  ]);

const block = (fill: number): Buffer => Buffer.alloc(blockSizeBytes, fill);

function incremental(blocks: ReadonlyMap<number, Buffer>, truncation: number): Buffer {
  const header = Buffer.alloc(12 + 4 * blocks.size);
  header.writeUInt32LE(0xd3ae1f0d, 0);
  header.writeUInt32LE(blocks.size, 4);
  header.writeUInt32LE(truncation, 8);
  [...blocks.keys()].forEach((number, index) => header.writeUInt32LE(number, 12 + 4 * index));
  const padding = blocks.size === 0 ? 0 : (blockSizeBytes - (header.length % blockSizeBytes)) % blockSizeBytes;
  return Buffer.concat([header, Buffer.alloc(padding), ...blocks.values()]);
}

async function combine(chain: readonly Files[]): Promise<Map<string, Buffer>> {
  const written = new Map<string, Buffer>();
  await combineBackups({ chain: chain.map(memoryBackup), writer: memoryWriter(written), signal: never });
  return written;
}

describe('combining', () => {
  /** What happens to a relation's file between two backups. */
  const change = fc.record({
    truncateTo: fc.option(fc.nat(10)),
    extendBy: fc.nat(4),
    written: fc.uniqueArray(fc.nat(14), { maxLength: 5 }),
    zerosAppended: fc.nat(2),
    whole: fc.boolean(),
  });

  test('every history of writing, truncating and growing comes out as the last state', async () => {
    await fc.assert(
      fc.asyncProperty(fc.nat(10), fc.array(change, { minLength: 1, maxLength: 4 }), async (firstCount, changes) => {
        let state = Array.from({ length: firstCount }, (_, number) => block(number + 1));
        const chain = [chainFiles(0, [[relation, Buffer.concat(state)]])];
        let fill = 100;
        for (const [index, { truncateTo, extendBy, written, zerosAppended, whole }] of changes.entries()) {
          const changed = new Map<number, Buffer>();
          const limit = truncateTo === null ? state.length : Math.min(truncateTo, state.length);
          state = state.slice(0, limit);
          for (let count = 0; count < extendBy; count++) state.push(block(++fill));
          for (const number of written) if (number < state.length) state[number] = block(++fill);
          // Whatever lies behind a truncation was written since.
          state.forEach((bytes, number) => (number >= limit || written.includes(number)) && changed.set(number, bytes));
          // Grown by a crash or by FALLOC without any WAL: nobody lists it.
          for (let count = 0; count < (truncateTo === null ? zerosAppended : 0); count++) state.push(block(0));
          const file: [string, Buffer] = whole
            ? [relation, Buffer.concat(state)]
            : [incrementalPathOf(relation), incremental(changed, Math.max(limit, state.length))];
          chain.push(chainFiles(index + 1, [file]));
        }
        const result = await combine(chain);
        expect(result.get(relation)?.equals(Buffer.concat(state))).toBe(true);
        expect([...result.keys()].some((path) => path.includes('INCREMENTAL'))).toBe(false);
      }),
      { numRuns: 150 },
    );
  });

  test('the label is a full one, the control file and the manifest come last', async () => {
    const result = await combine([
      chainFiles(0, [['PG_VERSION', Buffer.from('18\n')]]),
      chainFiles(1, [['PG_VERSION', Buffer.from('18\n')]]),
    ]);
    expect(result.get('backup_label')?.toString()).not.toContain('INCREMENTAL');
    expect(result.get('backup_label')?.toString()).toContain('START WAL LOCATION: 0/3000028');
    expect([...result.keys()].slice(-2)).toEqual(['global/pg_control', 'backup_manifest']);
  });

  test('the manifest lists what was written, and its own sum', async () => {
    const result = await combine([chainFiles(0, [['pg_wal/x', block(1)]]), chainFiles(1, [['pg_wal/x', block(1)]])]);
    const text = result.get('backup_manifest')?.toString() ?? '';
    expect(text).toContain('"System-Identifier": 7320280665284567118,');
    const found = JSON.parse(text) as {
      Files: { Path: string; Size: number; Checksum: string; 'Last-Modified': string }[];
      'WAL-Ranges': unknown;
    };
    for (const file of found.Files) {
      const bytes = result.get(file.Path) ?? Buffer.alloc(0);
      expect([file.Size, file.Checksum]).toEqual([bytes.length, createHash('sha256').update(bytes).digest('hex')]);
      expect(file['Last-Modified']).toBe('2026-05-01 03:00:00 GMT');
    }
    expect(found.Files.map((file) => file.Path)).toEqual(['backup_label', 'global/pg_control']);
    expect(found['WAL-Ranges']).toEqual([{ Timeline: 1, 'Start-LSN': '0/4000028', 'End-LSN': '0/4000100' }]);
    const end = text.lastIndexOf('"Manifest-Checksum"');
    expect(text.slice(end)).toBe(`"Manifest-Checksum": "${createHash('sha256').update(text.slice(0, end)).digest('hex')}"}\n`);
  });

  test('outside of relations a name may begin as it likes', async () => {
    expect(plainPathOf('base/5/INCREMENTAL.1')).toBe('base/5/1');
    expect(plainPathOf('pg_tblspc/9/PG_18_1/5/INCREMENTAL.1')).toBe('pg_tblspc/9/PG_18_1/5/1');
    const odd: [string, Buffer] = ['INCREMENTAL.notes', Buffer.from('mine')];
    expect((await combine([chainFiles(0, [odd]), chainFiles(1, [odd])])).get('INCREMENTAL.notes')?.toString()).toBe('mine');
  });
});

describe('a chain that is none', () => {
  const empty = incremental(new Map(), 3);
  const cases: [string, () => Files[]][] = [
    ['without any backup', () => []],
    ['that begins with an incremental one', () => [chainFiles(1, [])]],
    ['with a full one inside', () => [chainFiles(0, []), chainFiles(0, [])]],
    ['with one left out', () => [chainFiles(0, []), chainFiles(2, [])]],
    ['of two clusters', () => [chainFiles(0, []), new Map([...chainFiles(1, []), ['global/pg_control', control(8n)]])]],
    ['without a full copy', () => [chainFiles(0, []), chainFiles(1, [[incrementalPathOf(relation), empty]])]],
    [
      'with both kinds of a file',
      () => [
        chainFiles(0, [[relation, block(1)]]),
        chainFiles(1, [
          [incrementalPathOf(relation), incremental(new Map(), 1)],
          [relation, block(1)],
        ]),
      ],
    ],
    [
      'with a foreign header',
      () => [chainFiles(0, [[relation, block(1)]]), chainFiles(1, [[incrementalPathOf(relation), Buffer.alloc(12)]])],
    ],
    [
      'with half a file',
      () => [
        chainFiles(0, [[relation, block(1)]]),
        chainFiles(1, [[incrementalPathOf(relation), incremental(new Map([[0, block(1)]]), 1).subarray(0, -1)]]),
      ],
    ],
    [
      'with half a block in the full copy',
      () => [chainFiles(0, [[relation, Buffer.alloc(100)]]), chainFiles(1, [[incrementalPathOf(relation), empty]])],
    ],
    ['without a label', () => [new Map([...chainFiles(0, [])].filter(([path]) => path !== 'backup_label'))]],
    ['without a manifest', () => [new Map([...chainFiles(0, [])].filter(([path]) => path !== 'backup_manifest'))]],
  ];
  test.each(cases)('%s is refused', async (_, chain) => {
    await expect(combine(chain())).rejects.toMatchObject({ code: 'postgresql_chain_broken' });
  });

  test('a flipped bit in the header is found, or changes which blocks are taken and nothing else', async () => {
    const good = incremental(new Map([[1, block(9)]]), 2);
    await fc.assert(
      fc.asyncProperty(fc.nat(12 * 8 - 1), async (bit) => {
        const bad = Buffer.from(good);
        bad[bit >> 3] = (bad[bit >> 3] ?? 0) ^ (1 << (bit & 7));
        const chain = [
          chainFiles(0, [[relation, Buffer.concat([block(1), block(2)])]]),
          chainFiles(1, [[incrementalPathOf(relation), bad]]),
        ];
        if (bit < 64) await expect(combine(chain)).rejects.toMatchObject({ code: 'postgresql_chain_broken' });
        else await combine(chain).catch((error: unknown) => expect(error).toMatchObject({ code: 'postgresql_chain_broken' }));
      }),
    );
  });

  test('an abort ends it', async () => {
    const written = new Map<string, Buffer>();
    const aborted = AbortSignal.abort(new Error('enough'));
    const chain = [memoryBackup(chainFiles(0, []))];
    await expect(combineBackups({ chain, writer: memoryWriter(written), signal: aborted })).rejects.toThrow('enough');
    expect(written.has('global/pg_control')).toBe(false);
  });
});
