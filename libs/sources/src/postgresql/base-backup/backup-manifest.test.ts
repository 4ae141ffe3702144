import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { formatBackupManifest, parseBackupManifest, type BackupManifest } from './backup-manifest.ts';
import { manifestDifferences } from './manifest-differences.ts';

const lsn = fc.bigInt({ min: 0n, max: (1n << 64n) - 1n });
const manifests: fc.Arbitrary<BackupManifest> = fc
  .record({
    systemIdentifier: fc.option(lsn),
    files: fc.array(
      fc.record({
        path: fc.string({ unit: 'grapheme', minLength: 1 }),
        sizeBytes: fc.nat(),
        lastModified: fc.constant('2026-11-25 18:00:00 GMT'),
        checksum: fc.option(fc.stringMatching(/^[0-9a-f]{64}$/u)),
        checksumAlgorithm: fc.constant('SHA256'),
      }),
    ),
    walRanges: fc.array(fc.record({ timeline: fc.nat(), startLsn: lsn, endLsn: lsn })),
  })
  .map((manifest) => ({
    ...manifest,
    version: manifest.systemIdentifier === null ? 1 : 2,
    files: manifest.files.map((file) => (file.checksum === null ? { ...file, checksumAlgorithm: null } : file)),
  }));

test('what was written is read again', () => {
  fc.assert(
    fc.property(manifests, (manifest) => {
      expect(parseBackupManifest(formatBackupManifest(manifest))).toEqual(manifest);
    }),
  );
});

test('a flipped bit anywhere is found, and a cut', () => {
  fc.assert(
    fc.property(manifests, fc.nat(), fc.nat(7), (manifest, at, bit) => {
      const bytes = formatBackupManifest(manifest);
      const place = at % bytes.length;
      expect(() => parseBackupManifest(bytes.subarray(0, Math.max(0, place - 1)))).toThrow(
        expect.objectContaining({ code: 'postgresql_stream_damaged' }),
      );
      bytes[place] = (bytes[place] ?? 0) ^ (1 << bit);
      // The last line's own end may be missing.
      if (place === bytes.length - 1) return;
      expect(() => parseBackupManifest(bytes)).toThrow(expect.objectContaining({ code: 'postgresql_stream_damaged' }));
    }),
  );
});

test('a name in hexadecimal, as the server writes what is not UTF-8', () => {
  const file = { path: 'PATH', sizeBytes: 1, lastModified: '2026-11-25 18:00:00 GMT', checksum: null, checksumAlgorithm: null };
  const text = formatBackupManifest({ version: 1, systemIdentifier: null, files: [file], walRanges: [] }).toString();
  const body = text.slice(0, text.indexOf('"Manifest-Checksum"')).replace('"Path": "PATH"', '"Encoded-Path": "6772c3bc6e"');
  const checksum = createHash('sha256').update(body).digest('hex');
  expect(parseBackupManifest(Buffer.from(`${body}"Manifest-Checksum": "${checksum}"}\n`)).files[0]?.path).toBe('grün');
});

test('files that are not as the manifest says', () => {
  const file = (path: string, sizeBytes: number, checksum: string | null) => ({
    path,
    sizeBytes,
    checksum,
    lastModified: '',
    checksumAlgorithm: null,
  });
  const files = [file('same', 1, 'aa'), file('gone', 2, 'bb'), file('longer', 3, 'cc'), file('other', 4, 'dd'), file('unsummed', 5, null)];
  const seen = new Map([
    ['same', { sizeBytes: 1, checksum: 'aa' }],
    ['longer', { sizeBytes: 4, checksum: 'cc' }],
    ['other', { sizeBytes: 4, checksum: 'd0' }],
    ['unsummed', { sizeBytes: 5, checksum: 'ee' }],
    ['new', { sizeBytes: 0, checksum: 'ff' }],
    ['pg_wal/000000010000000000000001', { sizeBytes: 1, checksum: '00' }],
    ['backup_manifest', { sizeBytes: 1, checksum: '00' }],
  ]);
  expect(manifestDifferences({ version: 1, systemIdentifier: null, files, walRanges: [] }, seen)).toEqual([
    { kind: 'missing', path: 'gone' },
    { kind: 'size', path: 'longer', expectedBytes: 3, foundBytes: 4 },
    { kind: 'checksum', path: 'other', expected: 'dd', found: 'd0' },
    { kind: 'unexpected', path: 'new' },
  ]);
});
