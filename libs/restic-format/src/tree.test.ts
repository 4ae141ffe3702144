import { isHoldfastError } from '@holdfast/errors/holdfast-error';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';

import { compareNames, nameOfBytes } from './file-name.ts';
import { nodeTypes, type TreeNode } from './node.ts';
import { hashOf } from './object-id.ts';
import { decodeTree, encodeTree } from './tree.ts';

const idA = hashOf(Buffer.from('a'));
const idB = hashOf(Buffer.from('b'));
const times = { modifiedNs: 1n, accessedNs: 2_000_000_000n, changedNs: 3n };
const file: TreeNode = { name: 'f', type: 'file', mode: 420, ...times, uid: 0, gid: 0, content: [] };

const textOf = (nodes: readonly TreeNode[]): string => Buffer.from(encodeTree(nodes)).toString();
const bytesOf = (text: string): Uint8Array => Buffer.from(text);

/** A tree with one node, given as JSON fields over those that every node has. */
const treeWith = (fields: Record<string, unknown>): Uint8Array => {
  const time = '1970-01-01T00:00:00Z';
  const node = { name: 'f', type: 'file', mtime: time, atime: time, ctime: time, uid: 0, gid: 0, content: null, ...fields };
  return bytesOf(JSON.stringify({ nodes: [node] }));
};

const damaged = expect.toSatisfy((error) => isHoldfastError(error, 'repository_damaged'));

const uint64 = fc.bigInt({ min: 1n, max: 2n ** 64n - 1n });
const ns = fc.bigInt({ min: -62_000_000_000_000_000_000n, max: 253_000_000_000_000_000_000n });
const zone = fc.integer({ min: -840, max: 840 });
const idText = fc.uint8Array({ maxLength: 4 }).map(hashOf);
const anyName = fc.oneof(fc.string({ unit: 'binary', minLength: 1 }), fc.uint8Array({ minLength: 1 }).map(nameOfBytes));
const wellFormed = fc.string({ unit: 'binary', minLength: 1 });
const anyNode: fc.Arbitrary<TreeNode> = fc.record(
  {
    name: anyName.filter((name) => !/[/\0]/.test(name) && name !== '.' && name !== '..'),
    type: fc.constantFrom(...nodeTypes),
    mode: fc.integer({ min: 0, max: 2 ** 32 - 1 }),
    modifiedNs: ns,
    accessedNs: ns,
    changedNs: ns,
    zoneMinutes: fc.tuple(zone, zone, fc.constantFrom(-60, 60)),
    uid: fc.integer({ min: 0, max: 2 ** 32 - 1 }),
    gid: fc.integer({ min: 0, max: 2 ** 32 - 1 }),
    user: wellFormed,
    group: wellFormed,
    inode: uint64,
    deviceId: uint64,
    sizeBytes: fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER }),
    linkCount: uint64,
    linkTarget: anyName,
    extendedAttributes: fc
      .array(
        fc.tuple(
          wellFormed,
          fc.uint8Array().map((bytes) => Buffer.from(bytes)),
        ),
        { minLength: 1 },
      )
      .map((pairs) => new Map(pairs)),
    genericAttributes: fc.record({ 'windows.creation_time': fc.base64String(), 'windows.file_attributes': fc.nat() }),
    device: uint64,
    content: fc.option(fc.array(idText)),
    subtree: idText,
    error: wellFormed,
  },
  { requiredKeys: ['name', 'type', 'mode', 'modifiedNs', 'accessedNs', 'changedNs', 'uid', 'gid', 'content'] },
);
const anyTree = fc
  .uniqueArray(anyNode, { selector: (node) => node.name, maxLength: 6 })
  .map((nodes) => nodes.toSorted((a, b) => compareNames(a.name, b.name)));

describe('encodeTree', () => {
  test('an empty tree', () => expect(textOf([])).toBe('{"nodes":[]}\n'));

  test('fields stand in the order of restic, and zeros are left out', () => {
    const node: TreeNode = {
      ...file,
      user: 'root',
      group: 'root',
      inode: 5n,
      deviceId: 2n ** 63n + 1n,
      sizeBytes: 7,
      linkCount: 2n,
      content: [idA, idB],
    };
    expect(textOf([node])).toBe(
      '{"nodes":[{"name":"f","type":"file","mode":420,"mtime":"1970-01-01T00:00:00.000000001Z","atime":"1970-01-01T00:00:02Z",' +
        '"ctime":"1970-01-01T00:00:00.000000003Z","uid":0,"gid":0,"user":"root","group":"root","inode":5,' +
        `"device_id":9223372036854775809,"size":7,"links":2,"content":["${idA}","${idB}"]}]}\n`,
    );
    const zeros: TreeNode = { ...file, mode: 0, user: '', inode: 0n, sizeBytes: 0, linkCount: 0n, linkTarget: '', device: 0n, error: '' };
    expect(textOf([zeros])).toMatch(/"type":"file","mtime":.*,"uid":0,"gid":0,"content":\[\]\}\]\}\n$/);
  });

  test('what a folder, a link and a device add', () => {
    expect(textOf([{ ...file, type: 'dir', content: null, subtree: idA }])).toContain(`,"content":null,"subtree":"${idA}"}`);
    expect(textOf([{ ...file, type: 'symlink', linkTarget: '../<a>', content: null }])).toContain(
      String.raw`,"linktarget":"../\u003ca\u003e",`,
    );
    expect(textOf([{ ...file, type: 'symlink', linkTarget: 'a\udcff', content: null }])).toContain(
      String.raw`,"linktarget":"a\ufffd","linktarget_raw":"Yf8=",`,
    );
    expect(textOf([{ ...file, type: 'dev', device: 1793n, content: null }])).toContain(',"device":1793,"content":null}');
    const extendedAttributes = new Map([['user.a', Buffer.from('value')]]);
    expect(textOf([{ ...file, extendedAttributes }])).toContain('"extended_attributes":[{"name":"user.a","value":"dmFsdWU="}],"content"');
  });

  test('names are quoted, then written as JSON', () => {
    expect(textOf([{ ...file, name: 'a"\\<\n\udcff' }])).toContain(String.raw`"name":"a\\\"\\\\\u003c\\n\\xff",`);
  });

  test('nodes out of order, twice, or with a name that leads elsewhere are refused', () => {
    const named = (name: string): TreeNode => ({ ...file, name });
    expect(() => encodeTree([named('b'), named('a')])).toThrow('not sorted');
    expect(() => encodeTree([named('a'), named('a')])).toThrow('not sorted');
    for (const name of ['', '.', '..', 'a/b', 'a\0']) expect(() => encodeTree([named(name)])).toThrow('node name');
  });
});

describe('decodeTree', () => {
  test('gives back what was encoded, and the same bytes again', () => {
    fc.assert(
      fc.property(anyTree, (nodes) => {
        const bytes = encodeTree(nodes);
        expect(decodeTree(bytes)).toEqual(nodes);
        expect(Buffer.compare(encodeTree(decodeTree(bytes)), bytes)).toBe(0);
      }),
    );
  });

  test('passes over fields that it does not know, in tree and node', () => {
    const text = Buffer.from(treeWith({ future: { a: [1] } })).toString();
    expect(decodeTree(bytesOf(`{"version":3,${text.slice(1)}`))).toHaveLength(1);
  });

  test('keeps numbers beyond 2^53 exact, wherever they stand', () => {
    const text = Buffer.from(treeWith({ inode: 1, generic_attributes: { x: 2 } })).toString();
    const large = text.replace('"inode":1', '"inode":18446744073709551615').replace('"x":2', '"x":9007199254740993');
    const [node] = decodeTree(bytesOf(large));
    expect(node?.inode).toBe(2n ** 64n - 1n);
    expect(textOf(node ? [node] : [])).toContain('"x":9007199254740993');
  });

  test.each([
    { name: '' },
    { name: '..' },
    { name: 'a/b' },
    { name: String.raw`\x2e.` },
    { name: String.raw`a\x2fb` },
    { name: String.raw`a\x00` },
    { name: 'a"' },
    { name: 5 },
    { type: 'door' },
    { type: null },
    { mode: -1 },
    { mode: 2 ** 32 },
    { mtime: 'yesterday' },
    { mtime: null },
    { uid: '0' },
    { size: 1.5 },
    { size: 2 ** 60 },
    { inode: -1 },
    { content: 'x' },
    { content: ['x'] },
    { content: [null] },
    { subtree: '../../config' },
    { extended_attributes: [5] },
    { generic_attributes: [] },
    { linktarget: {} },
  ])('refuses a node with %j', (fields) => {
    expect(() => decodeTree(treeWith(fields))).toThrow(damaged);
  });

  test.each(['', 'null', '[]', '5', '{', '{"nodes":5}', '{"nodes":[null]}', '{"nodes":[[]]}', `{"nodes":${'['.repeat(200_000)}`])(
    'refuses text %#',
    (text) => expect(() => decodeTree(bytesOf(text))).toThrow(damaged),
  );

  test('any change of any byte is a tree or damage, never another error', () => {
    const original = Buffer.from(encodeTree(fc.sample(anyTree, { seed: 5, numRuns: 20 }).find((nodes) => nodes.length > 3) ?? []));
    expect(original.length).toBeGreaterThan(200);
    fc.assert(
      fc.property(fc.nat({ max: original.length - 1 }), fc.nat({ max: 255 }), fc.boolean(), (at, byte, isCut) => {
        const changed = isCut ? original.subarray(0, at) : Buffer.from(original);
        if (!isCut) changed[at] = byte;
        try {
          decodeTree(changed);
        } catch (error) {
          expect(error).toEqual(damaged);
        }
      }),
      { numRuns: 2000 },
    );
  });

  test('any JSON is a tree or damage', () => {
    fc.assert(
      fc.property(fc.json(), (text) => {
        try {
          decodeTree(bytesOf(`{"nodes":[${text}]}`));
        } catch (error) {
          expect(error).toEqual(damaged);
        }
      }),
    );
  });
});
