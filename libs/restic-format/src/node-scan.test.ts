import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { nodeTypes, type TreeNode } from './node.ts';
import { idStride, scanTreeNodes } from './node-scan.ts';
import { decodeTree, encodeTree } from './tree.ts';

const id = fc.uint8Array({ minLength: 32, maxLength: 32 }).map((bytes) => Buffer.from(bytes).toString('hex'));
const ns = fc.bigInt({ min: -59_000_000_000_000_000_000n, max: 253_000_000_000_000_000_000n });
const text = fc.string({ minLength: 1 }).filter((value) => !value.includes('/') && value !== '.' && value !== '..');
const node: fc.Arbitrary<TreeNode> = fc.record(
  {
    name: text,
    type: fc.constantFrom(...nodeTypes),
    mode: fc.integer({ min: 0, max: 2 ** 32 - 1 }),
    modifiedNs: ns,
    accessedNs: ns,
    changedNs: ns,
    uid: fc.nat(),
    gid: fc.nat(),
    user: text,
    group: text,
    inode: fc.bigInt({ min: 1n, max: 2n ** 63n - 1n }),
    sizeBytes: fc.integer({ min: 1, max: 10 ** 15 - 1 }),
    linkCount: fc.bigInt({ min: 1n, max: 9n }),
    linkTarget: text,
    content: fc.option(fc.array(id, { maxLength: 3 })),
    subtree: id,
  },
  { requiredKeys: ['name', 'type', 'mode', 'modifiedNs', 'accessedNs', 'changedNs', 'uid', 'gid', 'content'] },
);
const tree = fc
  .uniqueArray(node, { maxLength: 4, selector: ({ name }) => name })
  .map((nodes) => encodeTree(nodes.toSorted((a, b) => Buffer.compare(Buffer.from(a.name), Buffer.from(b.name)))));

/** What a scan tells, or what decoding does. */
interface Told {
  readonly name: string;
  readonly type: string;
  readonly sizeBytes: number;
  readonly modifiedNs: bigint;
  readonly content: readonly string[];
  readonly subtree: string | undefined;
}

function scanned(json: Uint8Array): Told[] | null {
  const told: Told[] = [];
  const bytes = Buffer.from(json);
  const textAt = (from: number, to: number): string => bytes.toString('utf8', from, to);
  const isScanned = scanTreeNodes(json, (found) => {
    const { nameStart, nameEnd, type, sizeBytes, modifiedSeconds, modifiedNs, contentStart, contentCount, subtreeStart } = found;
    told.push({
      name: textAt(nameStart, nameEnd),
      type,
      sizeBytes,
      modifiedNs: BigInt(modifiedSeconds) * 1_000_000_000n + BigInt(modifiedNs),
      content: Array.from({ length: contentCount }, (_, nth) => textAt(contentStart + nth * idStride, contentStart + nth * idStride + 64)),
      subtree: subtreeStart === -1 ? undefined : textAt(subtreeStart, subtreeStart + 64),
    });
  });
  return isScanned ? told : null;
}

function decoded(json: Uint8Array): Told[] {
  return decodeTree(json).map(({ name, type, sizeBytes = 0, modifiedNs, content, subtree }) => ({
    name,
    type,
    sizeBytes,
    modifiedNs,
    content: content ?? [],
    subtree,
  }));
}

describe('a scan of the nodes of a tree', () => {
  it('tells what decoding tells, or nothing', () => {
    let scannedCount = 0;
    fc.assert(
      fc.property(tree, (json) => {
        const told = scanned(json);
        if (told === null) return;
        scannedCount++;
        expect(told).toEqual(decoded(json));
      }),
      { numRuns: 300 },
    );
    expect(scannedCount).toBeGreaterThan(50);
  });

  it('takes nothing that decoding does not take, whatever byte is another', () => {
    fc.assert(
      fc.property(tree, fc.nat(), fc.integer({ min: 0, max: 255 }), (json, at, byte) => {
        const changed = Uint8Array.from(json);
        changed[at % changed.length] = byte;
        const told = scanned(changed);
        if (told !== null) expect(told).toEqual(decoded(changed));
      }),
      { numRuns: 2000 },
    );
  });

  it('takes no names that are not in order, or lead elsewhere', () => {
    const treeOf = (...names: readonly string[]): Uint8Array => {
      const time = '2024-01-01T00:00:00Z';
      const fields = { type: 'file', mtime: time, atime: time, ctime: time, uid: 0, gid: 0, content: null };
      return Buffer.from(`{"nodes":[${names.map((name) => JSON.stringify({ name, ...fields })).join(',')}]}\n`);
    };
    expect(scanned(treeOf('a', 'b'))).toHaveLength(2);
    for (const names of [['b', 'a'], ['a', 'a'], [''], ['.'], ['..'], ['a/b']]) expect(scanned(treeOf(...names))).toBeNull();
  });
});
