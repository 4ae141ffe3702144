import { zstdCompressSync } from 'node:zlib';
import { isHoldfastError } from '@holdfast/errors/holdfast-error';
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { createCipher, generateMasterKeys, overheadBytes } from './cipher.ts';
import { decompressBlob } from './compression.ts';
import { decodeConfigFile, encodeConfigFile } from './config-file.ts';
import { unquoteName } from './go-quote.ts';
import { decodeIndexFile, encodeIndexFile } from './index-file.ts';
import { describeKeyFile, makeKeyFile, openKeyFile } from './key-file.ts';
import { decodeLockFile, encodeLockFile } from './lock-file.ts';
import { decodePackHeader, encodePackHeader, openPackTail, packTailLength, sealPackTail, type PackedBlob } from './pack.ts';
import { decodeSnapshotFile, encodeSnapshotFile } from './snapshot-file.ts';
import { repeatableBytes } from './testing/repeatable-bytes.ts';
import { decodeTimestamp } from './timestamp.ts';
import { decodeTree, encodeTree } from './tree.ts';

/** Whoever has the key, or a faulty disk, may hand us anything: a value or an error with a code, soon, and in bounded memory. */
const random = repeatableBytes(1);
const masterKeys = generateMasterKeys(random);
const cipher = createCipher(masterKeys, random);
const id = 'ab'.repeat(32);

const blobs: PackedBlob[] = [
  { id, type: 'data', offset: 0, length: 1000 },
  { id: 'cd'.repeat(32), type: 'tree', offset: 1000, length: 500, uncompressedLength: 2000 },
];
const times = { modifiedNs: 1_700_000_000_123_456_789n, accessedNs: 1_700_000_000_000_000_000n, changedNs: 0n };
const owner = { uid: 1000, gid: 1000, user: 'ann', group: 'staff', inode: 2n ** 60n, deviceId: 7n, linkCount: 1n };
const extendedAttributes = new Map([['user.x', Uint8Array.of(1, 2)]]);
const tree = encodeTree([
  { name: 'dir', type: 'dir', mode: 0o755, ...times, ...owner, content: null, subtree: id },
  { name: 'file\udce9', type: 'file', mode: 0o644, ...times, ...owner, sizeBytes: 1000, content: [id, id], extendedAttributes },
  { name: 'link', type: 'symlink', mode: 0o777, ...times, ...owner, linkTarget: 'a\udcff', content: null },
]);
const counts = {
  filesNew: 1,
  filesChanged: 2,
  filesUnmodified: 3,
  dirsNew: 1,
  dirsChanged: 2,
  dirsUnmodified: 3,
  dataBlobs: 1,
  treeBlobs: 1,
};
const sums = { dataAdded: 5, dataAddedPacked: 4, totalFilesProcessed: 6, totalBytesProcessed: 7 };
const summary = { backupStartNs: 1n, backupEndNs: 2n, ...counts, ...sums };

interface Decoder {
  /** A file that decodes. */
  readonly whole: Uint8Array;
  readonly decode: (bytes: Uint8Array) => unknown;
  /** For JSON in a sealed file: puts other JSON into its place. */
  readonly withJson?: (json: string) => Uint8Array;
}

const sealedJson = (json: string): Uint8Array => cipher.seal(Buffer.from(json));
const sealedDecoders: Record<string, Decoder & { withJson: (json: string) => Uint8Array }> = {
  config: {
    whole: encodeConfigFile({ version: 2, id, chunkerPolynomial: 0x3da3358b4dc173n }, cipher),
    decode: (bytes) => decodeConfigFile(bytes, cipher),
    withJson: sealedJson,
  },
  index: {
    whole: encodeIndexFile({ packs: [{ id, blobs }] }, cipher),
    decode: (bytes) => decodeIndexFile(bytes, cipher),
    withJson: sealedJson,
  },
  snapshot: {
    whole: encodeSnapshotFile({ timeNs: 5n, tree: id, paths: ['/a'], parent: id, tags: ['x'], excludes: ['*'], summary }, cipher),
    decode: (bytes) => decodeSnapshotFile(bytes, cipher),
    withJson: sealedJson,
  },
  lock: {
    whole: encodeLockFile({ timeNs: 5n, exclusive: true, hostname: 'host', username: 'ann', pid: 1 }, cipher),
    decode: (bytes) => decodeLockFile(bytes, cipher),
    withJson: sealedJson,
  },
};
const decoders: Record<string, Decoder> = {
  ...sealedDecoders,
  tree: { whole: tree, decode: decodeTree, withJson: (json) => Buffer.from(json) },
  'pack header': { whole: encodePackHeader(blobs), decode: decodePackHeader },
  'pack tail': {
    whole: sealPackTail(blobs, cipher),
    decode: (bytes) => {
      const sizeBytes = 1500 + bytes.length;
      return packTailLength(bytes, sizeBytes) <= bytes.length ? openPackTail(bytes, sizeBytes, cipher) : null;
    },
  },
  'pack header, sealed again': {
    whole: encodePackHeader(blobs),
    decode: (bytes) => {
      const sealed = cipher.seal(bytes);
      const length = Buffer.alloc(4);
      length.writeUInt32LE(sealed.length);
      return openPackTail(Buffer.concat([sealed, length]), 1500 + sealed.length + 4, cipher);
    },
  },
  'compressed blob': { whole: zstdCompressSync(tree), decode: (bytes) => decompressBlob(bytes, tree.length) },
  'quoted name': {
    whole: Buffer.from(String.raw`a\xff\u00e9\U0001f600\"\\`),
    decode: (bytes) => unquoteName(Buffer.from(bytes).toString()),
  },
  time: { whole: Buffer.from('2024-02-29T23:59:59.123456789+01:00'), decode: (bytes) => decodeTimestamp(Buffer.from(bytes).toString()) },
};

/** More by FUZZ_RUNS, for a longer look. */
const numRuns = Number(process.env['FUZZ_RUNS'] ?? 400);
/** Longer than anything that is bounded takes, on a busy machine. */
const hangMs = 3000;

function expectAnswer(decode: () => unknown): void {
  const begin = performance.now();
  try {
    decode();
  } catch (error) {
    if (!isHoldfastError(error, 'repository_damaged') && !isHoldfastError(error, 'repository_unsupported')) throw error;
  }
  expect(performance.now() - begin).toBeLessThan(hangMs);
}

/** What a file can become: bits flipped, cut, lengthened, parts moved and repeated; or bytes of any kind. */
function damagedArbitrary(whole: Uint8Array): fc.Arbitrary<Uint8Array> {
  const at = fc.nat(whole.length);
  const flips = fc.array(fc.tuple(at, fc.integer({ min: 1, max: 255 })), { minLength: 1, maxLength: 8 });
  return fc.oneof(
    flips.map((all) => {
      const bytes = Uint8Array.from(whole);
      for (const [place, mask] of all) bytes[place] = (bytes[place] ?? 0) ^ mask;
      return bytes;
    }),
    at.map((length) => whole.slice(0, length)),
    fc
      .tuple(at, at, fc.uint8Array({ maxLength: 40 }))
      .map(([a, b, middle]) => Buffer.concat([whole.subarray(0, a), middle, whole.subarray(b)])),
    fc.uint8Array({ maxLength: 300 }),
  );
}

const odd = fc.constantFrom<unknown>(
  null,
  -1,
  1.5,
  2 ** 53,
  1e300,
  '',
  'x'.repeat(5000),
  '\ud800',
  '../a',
  'a/b',
  '\0',
  [],
  {},
  [null],
  [[]],
  true,
);

/** The JSON with one value, at any depth, put in place of another, or left out, or given twice. */
function changedJsonArbitrary(json: string): fc.Arbitrary<string> {
  const value: unknown = JSON.parse(json);
  const places = placesIn(value);
  const replacement = fc.oneof(odd, fc.jsonValue({ maxDepth: 3 }));
  return fc.oneof(
    fc.tuple(fc.constantFrom(...places), replacement).map(([place, other]) => JSON.stringify(replaced(value, place, other))),
    fc.constantFrom(...places.filter(({ length }) => length > 0)).map((place) => JSON.stringify(replaced(value, place, undefined))),
    fc.jsonValue({ maxDepth: 3 }).map((other) => JSON.stringify(other)),
    fc.tuple(fc.nat(json.length), fc.string({ maxLength: 10 })).map(([at, text]) => json.slice(0, at) + text + json.slice(at)),
  );
}

function placesIn(value: unknown): string[][] {
  if (typeof value !== 'object' || value === null) return [[]];
  return [[], ...Object.entries(value).flatMap(([name, below]) => placesIn(below).map((place) => [name, ...place]))];
}

function replaced(value: unknown, [name, ...rest]: readonly string[], other: unknown): unknown {
  if (name === undefined) return other;
  if (Array.isArray(value)) return value.map((one: unknown, nth) => (String(nth) === name ? replaced(one, rest, other) : one));
  const fields = Object.entries(value ?? {}).map(([key, below]): [string, unknown] => [
    key,
    key === name ? replaced(below, rest, other) : below,
  ]);
  return Object.fromEntries(fields);
}

const jsonOf: Record<string, string> = {
  config: `{"version":2,"id":"${id}","chunker_polynomial":"3da3358b4dc173"}`,
  index: `{"supersedes":["${id}"],"packs":[{"id":"${id}","blobs":[{"id":"${id}","type":"data","offset":0,"length":40,"uncompressed_length":9}]}]}`,
  snapshot: `{"time":"2024-01-02T03:04:05.6Z","parent":"${id}","tree":"${id}","paths":["/a"],"hostname":"h","uid":1,"tags":["t"],"excludes":["x"],"original":"${id}","summary":{"backup_start":"2024-01-02T03:04:05Z","backup_end":"2024-01-02T03:04:05Z","files_new":1}}`,
  lock: '{"time":"2024-01-02T03:04:05+02:00","exclusive":true,"hostname":"h","username":"u","pid":1,"uid":1,"gid":1}',
  tree: Buffer.from(tree).toString(),
};

describe('a decoder answers whatever it is given', () => {
  it.each(Object.keys(decoders))('%s: damaged bytes', (kind) => {
    const { whole, decode } = decoders[kind] ?? { whole: new Uint8Array(), decode: () => null };
    expect(() => decode(whole)).not.toThrow();
    fc.assert(
      fc.property(damagedArbitrary(whole), (bytes) => expectAnswer(() => decode(bytes))),
      { numRuns },
    );
  });

  it.each(Object.keys(jsonOf))('%s: other JSON under a good seal', (kind) => {
    const { withJson, decode } = decoders[kind] ?? {};
    if (withJson === undefined || decode === undefined) throw new Error(kind);
    expect(() => decode(withJson(jsonOf[kind] ?? ''))).not.toThrow();
    fc.assert(
      fc.property(changedJsonArbitrary(jsonOf[kind] ?? ''), (json) => expectAnswer(() => decode(withJson(json)))),
      { numRuns },
    );
  });

  it.each(Object.keys(jsonOf))('%s: JSON that goes very deep, and numbers that are very long', (kind) => {
    const { withJson, decode } = decoders[kind] ?? {};
    if (withJson === undefined || decode === undefined) throw new Error(kind);
    const deep = 30_000;
    const nested = '['.repeat(deep) + ']'.repeat(deep);
    for (const json of [nested, `{"nodes":${nested},"packs":${nested},"tags":${nested},"x":${'9'.repeat(10_000)}}`, '{"x":'.repeat(deep)]) {
      expectAnswer(() => decode(withJson(json)));
    }
  });
});

describe('a key file', () => {
  let whole: Uint8Array;
  beforeAll(async () => {
    const kdf = { N: 2, r: 1, p: 1 };
    whole = await makeKeyFile({ password: 'x', masterKeys, created: new Date(0), username: 'ann', hostname: 'host', kdf, random });
  });

  async function expectKeyAnswer(bytes: Uint8Array): Promise<void> {
    expectAnswer(() => describeKeyFile(bytes));
    const begin = performance.now();
    try {
      await openKeyFile(bytes, 'x');
    } catch (error) {
      if (!isHoldfastError(error, 'repository_damaged') && !isHoldfastError(error, 'repository_unsupported')) throw error;
    }
    expect(performance.now() - begin).toBeLessThan(hangMs);
  }

  it('that is damaged answers', async () => {
    await fc.assert(fc.asyncProperty(damagedArbitrary(whole), expectKeyAnswer), { numRuns });
  });

  it('with other JSON answers', async () => {
    const json = Buffer.from(whole).toString();
    await fc.assert(
      fc.asyncProperty(changedJsonArbitrary(json), (changed) => expectKeyAnswer(Buffer.from(changed))),
      { numRuns },
    );
  });

  it('that asks for all memory or all time is refused before it gets any', async () => {
    const fields = JSON.parse(Buffer.from(whole).toString()) as Record<string, unknown>;
    const demands = [
      { N: 2 ** 30 },
      { N: 2 ** 52 },
      { r: 2 ** 30 },
      { p: 2 ** 31 },
      { N: 2 ** 20, r: 8, p: 1000 },
      { N: 0 },
      { N: 3 },
      { p: 0 },
    ];
    for (const demand of demands) {
      await expect(openKeyFile(Buffer.from(JSON.stringify({ ...fields, ...demand })), 'x')).rejects.toSatisfy((error) =>
        isHoldfastError(error, 'repository_unsupported'),
      );
    }
  });
});

describe('what unpacks to far more than it may', () => {
  // As small as a page, as large as all memory: zeros, and frames one behind the other.
  const zeros = zstdCompressSync(Buffer.alloc(192 * 1024 * 1024));
  const bomb = cipher.seal(Buffer.concat([Uint8Array.of(2), zeros]));
  /** The largest limit is that of an index, and a little is lost on the way. */
  const maxGrowthBytes = 400 * 1024 * 1024;

  it.each(['config', 'snapshot', 'lock', 'index'])('is refused by the decoder of a %s', (kind) => {
    expect(bomb.length).toBeLessThan(100_000);
    const before = process.memoryUsage().rss;
    expect(() => decoders[kind]?.decode(bomb)).toThrow(expect.objectContaining({ code: 'repository_damaged' }));
    expect(process.memoryUsage().rss - before).toBeLessThan(maxGrowthBytes);
  });

  it('is refused as a blob, and so is one that claims what nothing has', () => {
    expect(() => decompressBlob(zeros, 1000)).toThrow(expect.objectContaining({ code: 'repository_damaged' }));
    expect(() => decompressBlob(zeros, 2 ** 32 - 1)).toThrow(expect.objectContaining({ code: 'repository_damaged' }));
    const small = zstdCompressSync(Buffer.alloc(100));
    const before = process.memoryUsage().rss;
    expect(() => decompressBlob(small, 1024 ** 3)).toThrow(expect.objectContaining({ code: 'repository_damaged' }));
    expect(process.memoryUsage().rss - before).toBeLessThan(maxGrowthBytes);
  });

  it('is refused as a pack, by the length of its header', () => {
    for (const claim of [0, overheadBytes, 17 * 1024 * 1024, 2 ** 32 - 1]) {
      const tail = Buffer.alloc(200);
      tail.writeUInt32LE(claim, 196);
      expect(() => packTailLength(tail, 2 ** 33)).toThrow(expect.objectContaining({ code: 'repository_damaged' }));
    }
  });
});
