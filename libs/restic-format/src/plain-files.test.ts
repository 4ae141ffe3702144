import fc from 'fast-check';
import { expect, it } from 'vitest';
import { permissionBitsOf } from './file-mode.ts';
import { compareNames } from './file-name.ts';
import type { TreeNode } from './node.ts';
import { scanPlainFiles } from './plain-files.ts';
import { decodeTree, encodeTree } from './tree.ts';

/** What is restored of a node. */
interface Restored {
  readonly name: string;
  readonly mode: number;
  readonly modifiedNs: bigint;
  readonly accessedNs: bigint;
  readonly uid: number;
  readonly gid: number;
  readonly sizeBytes: number;
  readonly content: readonly string[];
}

const ofNode = (node: TreeNode): Restored => ({
  name: node.name,
  mode: permissionBitsOf(node.mode),
  modifiedNs: node.modifiedNs,
  accessedNs: node.accessedNs,
  uid: node.uid,
  gid: node.gid,
  sizeBytes: node.sizeBytes ?? 0,
  content: node.content ?? [],
});

/** The files that were read where they lie. */
function plainFilesOf(bytes: Uint8Array): Restored[] {
  const tree = scanPlainFiles(bytes);
  return (tree?.files ?? []).map((file) => ({
    name: Buffer.from(bytes.subarray(file.nameStart, file.nameEnd)).toString(),
    mode: file.mode,
    modifiedNs: BigInt(file.modifiedSeconds) * 1_000_000_000n + BigInt(file.modifiedNs),
    accessedNs: BigInt(file.accessedSeconds) * 1_000_000_000n + BigInt(file.accessedNs),
    uid: file.uid,
    gid: file.gid,
    sizeBytes: file.sizeBytes,
    content: file.idStart === -1 ? [] : [Buffer.from(tree?.ids.subarray(file.idStart, file.idStart + 32) ?? []).toString('hex')],
  }));
}

const id = fc.uint8Array({ minLength: 32, maxLength: 32 }).map((bytes) => Buffer.from(bytes).toString('hex'));
const ns = fc.oneof(
  fc.bigInt({ min: -62_000_000_000_000_000_000n, max: 253_000_000_000_000_000_000n }),
  fc.bigInt({ min: 0n, max: 2_000_000_000n }).map((seconds) => seconds * 1_000_000_000n),
);
const uint32 = fc.integer({ min: 0, max: 2 ** 32 - 1 });
const zone = fc.constantFrom(0, -840, 840, 90, -1);
const name = fc
  .oneof(
    fc.string({ minLength: 1, maxLength: 9 }),
    fc.string({ unit: 'binary', minLength: 1, maxLength: 9 }),
    fc.constantFrom('…', '..a', '\\', '"', '\u007f'),
  )
  .filter((text) => !/[/\0]/.test(text) && text !== '.' && text !== '..' && text.isWellFormed());
const node: fc.Arbitrary<TreeNode> = fc.record(
  {
    name,
    type: fc.constantFrom('file', 'file', 'file', 'dir', 'symlink'),
    mode: uint32,
    modifiedNs: ns,
    accessedNs: ns,
    changedNs: ns,
    zoneMinutes: fc.tuple(zone, zone, fc.constant(60)),
    uid: uint32,
    gid: uint32,
    user: fc.constantFrom('root', 'a\\b', 'ü'),
    group: fc.string({ minLength: 1, maxLength: 4 }),
    inode: fc.bigInt({ min: 1n, max: 2n ** 64n - 1n }),
    deviceId: fc.bigInt({ min: 1n, max: 2n ** 64n - 1n }),
    sizeBytes: fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER }),
    linkCount: fc.constantFrom(1n, 1n, 1n, 2n),
    extendedAttributes: fc.constant(new Map([['user.a', Buffer.from('b')]])),
    content: fc.option(fc.array(id, { maxLength: 2 })),
  },
  { requiredKeys: ['name', 'type', 'mode', 'modifiedNs', 'accessedNs', 'changedNs', 'uid', 'gid', 'content'] },
);
const trees = fc
  .uniqueArray(node, { selector: (one) => one.name, maxLength: 6 })
  .map((nodes) => nodes.toSorted((a, b) => compareNames(a.name, b.name)));

it('gives what decoding gives, file by file and node by node', () => {
  fc.assert(
    fc.property(trees, (nodes) => {
      const bytes = encodeTree(nodes);
      const scanned = plainFilesOf(bytes);
      const others = scanPlainFiles(bytes)?.others ?? [];
      const decoded = decodeTree(bytes);
      expect(scanned.length + others.length).toBe(decoded.length);
      expect(others).toEqual(decoded.filter((one) => others.some((other) => other.name === one.name)));
      const byName = new Map(decoded.map((one) => [one.name, one]));
      for (const file of scanned) {
        const whole = byName.get(file.name);
        expect(whole).toMatchObject({ type: 'file' });
        expect(whole?.linkCount ?? 1n).toBe(1n);
        expect(whole?.extendedAttributes).toBe(undefined);
        expect(whole && ofNode(whole)).toEqual(file);
      }
    }),
    { numRuns: 1000 },
  );
});

const time = '2024-05-06T07:08:09.123456789Z';
const plain = `{"name":"a","type":"file","mode":420,"mtime":"${time}","atime":"${time}","ctime":"${time}","uid":0,"gid":0,"user":"root","group":"root","inode":1,"size":3,"links":1,"content":["${'ab'.repeat(32)}"]}`;
const treeOf = (...texts: string[]): Buffer => Buffer.from(`{"nodes":[${texts.join(',')}]}\n`);

it('reads the ordinary file of restic where it lies', () => {
  expect(scanPlainFiles(treeOf(plain))?.others).toEqual([]);
  expect(plainFilesOf(treeOf(plain, plain.replace('"a"', '"b"')))).toHaveLength(2);
});

it.each([
  ['a field more', plain.replace('"links"', '"more":{"a":["}"]},"links"')],
  ['another order', plain.replace('"uid":0,"gid":0', '"gid":0,"uid":0')],
  ['several names', plain.replace('"links":1', '"links":2')],
  ['two blobs', plain.replace('["', `["${'cd'.repeat(32)}","`)],
  ['a name with an escape', plain.replace('"a"', String.raw`"\\x41"`)],
  ['no content', plain.replace(/\[.*\]/, 'null')],
  ['a number that a double does not hold', plain.replace('"inode":1', '"inode":18446744073709551615')],
  ['digits below a nanosecond', plain.replace(time, `${time.slice(0, -1)}12Z`)],
])('decodes a file with %s as decodeTree does', (_name, text) => {
  const bytes = treeOf(text, plain);
  expect(scanPlainFiles(bytes)?.others).toEqual([decodeTree(bytes)[0]]);
});

it.each([
  ['nothing', ''],
  ['no nodes', '{}'],
  ['null', '{"nodes":null}'],
  ['blanks', `{"nodes": [${plain}]}`],
  ['something behind it', `{"nodes":[${plain}]} x`],
  ['half a node', `{"nodes":[${plain.slice(0, -5)}`],
  ['a time that is none', treeOf(plain.replaceAll('2024-05-06', '2024-02-30')).toString()],
  ['a last status time that is none', treeOf(plain.replace(/"ctime":"[^"]*"/, '"ctime":"x"')).toString()],
  ['an id in upper case', treeOf(plain.replace('abab', 'ABab')).toString()],
  ['a name that leads elsewhere', treeOf(plain.replace('"a"', '"../a"')).toString()],
  ['a name of dots', treeOf(plain.replace('"a"', '".."')).toString()],
  ['no name', treeOf(plain.replace('"a"', '""')).toString()],
  ['a mode that is too large', treeOf(plain.replace('420', '4294967296')).toString()],
  ['a number with a zero before it', treeOf(plain.replace('420', '0420')).toString()],
])('leaves a tree with %s to decodeTree', (_name, text) => {
  expect(scanPlainFiles(Buffer.from(text))).toBe(null);
});

it('leaves bytes that are no text to decodeTree', () => {
  const bytes = treeOf(plain.replace('root', 'roo~'));
  bytes[bytes.indexOf('~')] = 0xff;
  expect(scanPlainFiles(bytes)).toBe(null);
});
