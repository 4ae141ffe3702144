import { zstdCompressSync } from 'node:zlib';

import { isHoldfastError } from '@holdfast/errors/holdfast-error';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';

import { createCipher, generateMasterKeys } from './cipher.ts';
import { decodeConfigFile, encodeConfigFile, type RepositoryConfig } from './config-file.ts';
import { decodeIndexFile, encodeIndexFile, splitIndex, type IndexedPack } from './index-file.ts';
import { decodeLockFile, encodeLockFile, type LockFile } from './lock-file.ts';
import { hashOf } from './object-id.ts';
import { decodeSnapshotFile, encodeSnapshotFile, type Snapshot } from './snapshot-file.ts';
import { repeatableBytes } from './testing/repeatable-bytes.ts';
import { decodeUnpackedFile } from './unpacked-file.ts';

const cipher = createCipher(generateMasterKeys(repeatableBytes(1)), repeatableBytes(2));
const id = hashOf(Buffer.from('id'));
const failing = (code: 'repository_damaged' | 'repository_unsupported') => expect.toSatisfy((error) => isHoldfastError(error, code));

const sealJson = (value: unknown): Uint8Array => cipher.seal(Buffer.from(JSON.stringify(value)));
const sealCompressed = (plain: Uint8Array): Uint8Array => cipher.seal(Buffer.concat([Buffer.of(2), zstdCompressSync(plain)]));

const config: RepositoryConfig = { version: 2, id, chunkerPolynomial: 0x25_b468_838d_cb75n };
const lock: LockFile = { timeNs: 5n, zoneMinutes: 60, exclusive: true, hostname: 'h', username: 'u', pid: 7, uid: 1000, gid: 100 };
const snapshot: Snapshot = {
  timeNs: 1_700_000_000_123_456_789n,
  zoneMinutes: -300,
  parent: hashOf(Buffer.from('parent')),
  tree: id,
  paths: ['/srv/<data>', '/etc'],
  hostname: 'h',
  username: 'u',
  uid: 1000,
  gid: 100,
  excludes: ['*.tmp'],
  tags: ['holdfast', 'job:1'],
  original: hashOf(Buffer.from('original')),
  programVersion: 'holdfast 1',
  summary: {
    backupStartNs: 1n,
    backupEndNs: 2n,
    filesNew: 1,
    filesChanged: 2,
    filesUnmodified: 3,
    dirsNew: 4,
    dirsChanged: 5,
    dirsUnmodified: 6,
    dataBlobs: 7,
    treeBlobs: 8,
    dataAdded: 9,
    dataAddedPacked: 10,
    totalFilesProcessed: 11,
    totalBytesProcessed: 12,
  },
};
const pack: IndexedPack = {
  id,
  blobs: [
    { id, type: 'data', offset: 0, length: 38 },
    { id: hashOf(Buffer.from('b')), type: 'tree', offset: 38, length: 112, uncompressedLength: 511 },
  ],
};

describe('unpacked files', () => {
  test('every kind comes back', () => {
    expect(decodeConfigFile(encodeConfigFile(config, cipher), cipher)).toEqual(config);
    expect(decodeLockFile(encodeLockFile(lock, cipher), cipher)).toEqual(lock);
    expect(decodeSnapshotFile(encodeSnapshotFile(snapshot, cipher), cipher)).toEqual(snapshot);
    expect(decodeIndexFile(encodeIndexFile({ packs: [pack] }, cipher), cipher)).toEqual({ packs: [pack] });
  });

  test('with the least that they may hold too', () => {
    const leastLock: LockFile = { timeNs: 0n, exclusive: false, hostname: '', username: '', pid: 0 };
    expect(decodeLockFile(encodeLockFile(leastLock, cipher), cipher)).toEqual(leastLock);
    const leastSnapshot: Snapshot = { timeNs: 0n, tree: id, paths: [] };
    expect(decodeSnapshotFile(encodeSnapshotFile({ ...leastSnapshot, tags: [], excludes: [], hostname: '' }, cipher), cipher)).toEqual(
      leastSnapshot,
    );
    expect(decodeIndexFile(encodeIndexFile({ packs: [] }, cipher), cipher)).toEqual({ packs: [] });
  });

  test('the config is plain JSON, the others are compressed', () => {
    expect(Buffer.from(cipher.open(encodeConfigFile(config, cipher))).toString()).toBe(
      `{"version":2,"id":"${id}","chunker_polynomial":"25b468838dcb75"}`,
    );
    expect(cipher.open(encodeIndexFile({ packs: [pack] }, cipher))[0]).toBe(2);
  });

  test('plain JSON is read, with fields that this version does not know', () => {
    const index = { supersedes: [id], packs: [{ id, blobs: null, more: 1 }], version: 9 };
    expect(decodeIndexFile(sealJson(index), cipher)).toEqual({ packs: [{ id, blobs: [] }], supersedes: [id] });
    expect(decodeIndexFile(sealJson({ packs: null }), cipher)).toEqual({ packs: [] });
    expect(() => decodeIndexFile(sealJson([]), cipher)).toThrow(failing('repository_damaged'));
  });

  test('a config of another version is unsupported, one that is none is damaged', () => {
    const fields = { version: 2, id, chunker_polynomial: '25b468838dcb75' };
    for (const version of [0, 1, 3])
      expect(() => decodeConfigFile(sealJson({ ...fields, version }), cipher)).toThrow(failing('repository_unsupported'));
    for (const change of [{ version: '2' }, { id: 'x' }, { chunker_polynomial: '0x5' }, { chunker_polynomial: '' }]) {
      expect(() => decodeConfigFile(sealJson({ ...fields, ...change }), cipher)).toThrow(failing('repository_damaged'));
    }
  });

  test.each([{ tree: null }, { tree: 'x' }, { time: '' }, { paths: [5] }, { tags: 'x' }, { parent: '' }, { uid: -1 }, { summary: 5 }])(
    'a snapshot with %j is damaged',
    (change) => {
      const fields = { time: '2026-01-01T00:00:00Z', tree: id, paths: ['/'] };
      expect(() => decodeSnapshotFile(sealJson({ ...fields, ...change }), cipher)).toThrow(failing('repository_damaged'));
    },
  );

  test.each([{ id: 'x' }, { type: 'link' }, { offset: -1 }, { length: 2 ** 32 }, { length: '5' }, { uncompressed_length: 0.5 }])(
    'an index with a blob with %j is damaged',
    (change) => {
      const blob = { id, type: 'data', offset: 0, length: 40, ...change };
      expect(() => decodeIndexFile(sealJson({ packs: [{ id, blobs: [blob] }] }), cipher)).toThrow(failing('repository_damaged'));
    },
  );

  test('an unknown encoding is unsupported; nothing, cut zstd, bombs and bytes that are no JSON are damaged', () => {
    const read = (bytes: Uint8Array): unknown => decodeUnpackedFile(bytes, cipher, 'a file', 10_000);
    expect(() => read(cipher.seal(Buffer.from('\u0003{}')))).toThrow(failing('repository_unsupported'));
    const broken = [
      cipher.seal(new Uint8Array(0)),
      cipher.seal(Buffer.of(2)),
      cipher.seal(Buffer.from('{"a":')),
      cipher.seal(Buffer.from('{"a":"\u00ff"}', 'latin1')),
      cipher.seal(Buffer.from(`[${'0,'.repeat(6000)}0]`)),
      sealCompressed(Buffer.from('{')),
      sealCompressed(Buffer.alloc(50_000_000, ' ')),
    ];
    for (const bytes of broken) expect(() => read(bytes)).toThrow(failing('repository_damaged'));
  });

  test('any JSON is a value or damage, for every kind', () => {
    const decoders = [decodeConfigFile, decodeLockFile, decodeSnapshotFile, decodeIndexFile];
    const fieldNames = fc.constantFrom(
      'version',
      'id',
      'time',
      'tree',
      'paths',
      'packs',
      'pid',
      'tags',
      'summary',
      'uid',
      'chunker_polynomial',
    );
    const value = fc.oneof(fc.jsonValue(), fc.constantFrom(2, id, '2026-01-01T00:00:00Z'));
    fc.assert(
      fc.property(fc.dictionary(fieldNames, value), (fields) => {
        for (const decode of decoders) {
          try {
            decode(sealJson(fields), cipher);
          } catch (error) {
            expect(isHoldfastError(error, 'repository_damaged') || isHoldfastError(error, 'repository_unsupported')).toBe(true);
          }
        }
      }),
    );
  });
});

describe('splitIndex', () => {
  const largestBlob = { id, type: 'data', offset: 2 ** 32 - 1, length: 2 ** 32 - 1, uncompressedLength: 2 ** 32 - 1 } as const;
  const packOf = (blobCount: number): IndexedPack => ({
    id,
    blobs: Array.from({ length: blobCount }, () => largestBlob),
  });

  test('keeps order, splits no pack, and every file of more than one pack is below 8 MiB', () => {
    const packs = [1000, 40_000, 60_000, 1, 20_000, 20_000, 20_000, 5].map(packOf);
    const groups = splitIndex(packs);
    expect(groups.flat()).toEqual(packs);
    for (const group of groups.filter((members) => members.length > 1)) {
      const plain = JSON.stringify(group).replaceAll('uncompressedLength', 'uncompressed_length');
      expect(plain.length + 20).toBeLessThan(8 * 1024 * 1024);
    }
    expect(groups.map((group) => group.length)).toEqual([2, 1, 3, 2]);
    expect(splitIndex([])).toEqual([]);
  });
});
