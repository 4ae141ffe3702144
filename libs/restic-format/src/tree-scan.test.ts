import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { decodeTree, encodeTree } from './tree.ts';
import { copyIdAt, scanTreeIds } from './tree-scan.ts';
import type { TreeNode } from './node.ts';

const id = fc.uint8Array({ minLength: 32, maxLength: 32 }).map((bytes) => Buffer.from(bytes).toString('hex'));
const ns = fc.bigInt({ min: -59_000_000_000_000_000_000n, max: 253_000_000_000_000_000_000n });
const zone = fc.integer({ min: -839, max: 839 });
const uint32 = fc.integer({ min: 0, max: 2 ** 32 - 1 });
const uint63 = fc.bigInt({ min: 1n, max: 2n ** 63n - 1n });
const plainText = fc.string({ minLength: 1 }).filter((text) => !/["\\/<>&]/.test(text) && text !== '.' && text !== '..');
const node: fc.Arbitrary<TreeNode> = fc.record(
  {
    name: plainText,
    type: fc.constantFrom('file' as const, 'dir' as const, 'symlink' as const),
    mode: uint32,
    modifiedNs: ns,
    accessedNs: ns,
    changedNs: ns,
    zoneMinutes: fc.tuple(zone, zone, fc.constantFrom(-60, 60)),
    uid: uint32,
    gid: uint32,
    user: plainText,
    group: plainText,
    inode: uint63,
    deviceId: uint63,
    sizeBytes: fc.integer({ min: 1, max: 10 ** 15 - 1 }),
    linkCount: uint63,
    linkTarget: plainText,
    content: fc.option(fc.array(id, { maxLength: 3 })),
    subtree: id,
  },
  {
    requiredKeys: ['name', 'type', 'mode', 'modifiedNs', 'accessedNs', 'changedNs', 'uid', 'gid', 'content'],
  },
);
const nodes = fc
  .uniqueArray(node, { maxLength: 4, selector: ({ name }) => name })
  .map((list) => list.toSorted((a, b) => Buffer.compare(Buffer.from(a.name), Buffer.from(b.name))));

function idsIn(json: Uint8Array): { subtrees: string[]; blobs: string[] } | null {
  const found = scanTreeIds(json);
  const textAt = (position: number): string => {
    const bytes = Buffer.alloc(34, 0xee);
    copyIdAt(json, position, bytes, 1);
    expect([bytes[0], bytes[33]]).toEqual([0xee, 0xee]);
    return bytes.toString('hex', 1, 33);
  };
  return found && { subtrees: found.subtrees.map(textAt), blobs: found.blobs.map(textAt) };
}

function decodedIds(json: Uint8Array): { subtrees: string[]; blobs: string[] } {
  const decoded = decodeTree(json);
  return {
    subtrees: decoded.flatMap(({ subtree }) => (subtree === undefined ? [] : [subtree])),
    blobs: decoded.flatMap(({ content }) => content ?? []),
  };
}

describe('scanTreeIds', () => {
  it('finds in usual trees what the parser finds', () => {
    fc.assert(
      fc.property(nodes, (list) => {
        const json = encodeTree(list);
        expect(idsIn(json)).toEqual(decodedIds(json));
      }),
    );
  });

  it('reads a changed tree as the parser does, or not at all', () => {
    const change = fc.record({
      at: fc.nat(),
      byte: fc.oneof(fc.nat({ max: 255 }), fc.constantFrom(...Buffer.from('"{}[],:.\\/-+TZ0123456789abcdef'))),
    });
    fc.assert(
      fc.property(nodes, fc.array(change, { maxLength: 3 }), fc.option(fc.nat()), (list, changes, cutAt) => {
        const json = Uint8Array.from(encodeTree(list)).subarray(0, cutAt === null ? undefined : cutAt);
        for (const { at, byte } of changes) if (json.length > 0) json[at % json.length] = byte;
        const found = idsIn(json);
        if (found !== null) expect(found).toEqual(decodedIds(json));
      }),
      { numRuns: 5000 },
    );
  });

  const time = '2024-02-29T23:59:59.123456789+02:00';
  const treeOf = (changes: Record<string, unknown>): Buffer => {
    const fields = { name: 'a', type: 'file', mode: 420, mtime: time, atime: time, ctime: time, uid: 0, gid: 0, content: null, ...changes };
    return Buffer.from(JSON.stringify({ nodes: [fields] }));
  };

  it('takes a usual node', () => {
    for (const usual of [{}, { mode: 4_294_967_295 }, { mtime: '2000-02-29T00:00:00Z' }, { name: '...' }, { name: '.a' }]) {
      expect(idsIn(treeOf(usual))).toEqual({ subtrees: [], blobs: [] });
    }
  });

  it.each([
    { name: '.' },
    { name: '..' },
    { name: '' },
    { name: 'a/b' },
    { name: 'ä' },
    { name: 'a\n' },
    { type: 'dev' },
    { mode: 4_294_967_296 },
    { mode: -1 },
    { mode: 1.5 },
    { mtime: '2023-02-29T00:00:00Z' },
    { mtime: '2024-04-31T00:00:00Z' },
    { mtime: '2024-13-01T00:00:00Z' },
    { mtime: '2024-00-01T00:00:00Z' },
    { mtime: '2024-01-00T00:00:00Z' },
    { mtime: '2024-01-01T24:00:00Z' },
    { mtime: '2024-01-01T00:60:00Z' },
    { mtime: '2024-01-01T00:00:60Z' },
    { mtime: '2024-01-01T00:00:00.Z' },
    { mtime: '2024-01-01T00:00:00' },
    { mtime: '2024-01-01 00:00:00Z' },
    { uid: 4_294_967_296 },
    { content: ['A'.repeat(64)] },
    { content: ['a'.repeat(63)] },
    { content: ['a'.repeat(65)] },
    { content: {} },
    { more: 1 },
  ])('leaves a node with %j to the parser', (changes) => {
    expect(scanTreeIds(treeOf(changes))).toBeNull();
  });

  it.each(['', '{"nodes":[ ]}', '{"nodes":null}', '{"nodes":[]}\n\n', '{"nodes":[],"more":1}', '[]'])('leaves %j to the parser', (json) => {
    expect(scanTreeIds(Buffer.from(json))).toBeNull();
  });
});
