import { encodeFileMode } from '@holdfast/restic-format/file-mode';
import type { TreeNode } from '@holdfast/restic-format/node';
import { encodeTree } from '@holdfast/restic-format/tree';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { contentIdOf } from './browsed-entry.ts';
import { NameTable } from './name-table.ts';
import { openTreeListing } from './tree-listing.ts';
import { treeNamesOf } from './tree-names.ts';

const name = fc
  .string({ minLength: 1, unit: 'binary' })
  .filter((text) => !/[/\0]/.test(text) && text !== '.' && text !== '..' && text.isWellFormed());
const names = fc
  .uniqueArray(name, { maxLength: 20 })
  .map((list) => list.toSorted((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b))));

const idOf = (nth: number): string => String(nth).padStart(64, '0');

function nodeOf(text: string, nth: number): TreeNode {
  const times = { modifiedNs: BigInt(nth) * 10n ** 19n - 5n, accessedNs: 0n, changedNs: 0n };
  const both = { name: text, ...times, uid: nth, gid: 0 };
  if (nth % 3 === 0) return { ...both, type: 'dir', mode: encodeFileMode('dir', 0o755), content: null, subtree: idOf(nth) };
  const content = Array.from({ length: nth % 4 }, (_, blob) => idOf(nth * 10 + blob));
  return { ...both, type: 'file', mode: encodeFileMode('file', 0o644), sizeBytes: nth, content };
}

describe('the listing of a tree', () => {
  it('has the nodes of the tree, each found by its name', () => {
    fc.assert(
      fc.property(names, name, (list, other) => {
        const nodes = list.map(nodeOf);
        const listing = openTreeListing(encodeTree(nodes));
        expect(listing.count).toBe(nodes.length);
        for (const [place, node] of nodes.entries()) {
          expect(listing.nameAt(place)).toBe(node.name);
          expect(listing.find(node.name)).toBe(place);
          expect(listing.placeBehind(node.name)).toBe(place + 1);
          expect(listing.at(place)).toMatchObject({
            node: { name: node.name, uid: node.uid, modifiedNs: node.modifiedNs },
            isUnsafe: false,
          });
        }
        if (!list.includes(other)) expect(listing.find(other)).toBe(-1);
        expect(listing.placeBehind('')).toBe(0);
      }),
    );
  });

  it('is held in little more than its text', () => {
    const nodes = Array.from({ length: 1000 }, (_, nth) => nodeOf(`name ${String(nth).padStart(4, '0')}`, nth));
    const bytes = encodeTree(nodes);
    expect(openTreeListing(bytes).heldBytes).toBeLessThan(bytes.length + 5000);
  });

  it.each(['', '{}', '{"nodes":[{]}', '{"nodes":[{"name":"a"}]', '{"nodes":[1]}'])('refuses what is no tree: %s', (json) => {
    const open = (): unknown => openTreeListing(Buffer.from(json));
    if (json === '{}') expect(openTreeListing(Buffer.from(json)).count).toBe(0);
    else expect(open).toThrow('a tree');
  });

  it('refuses a node with two names', () => {
    const [text] = encodeTree([nodeOf('a', 1)])
      .toString()
      .split('\n');
    const twice = (text ?? '').replace('"type":', '"name":"b","type":');
    expect(() => openTreeListing(Buffer.from(twice)).at(0)).toThrow('a tree node has two names');
  });
});

describe('the names of a tree', () => {
  it('are those of its listing, with what a search tells of each', () => {
    fc.assert(
      fc.property(names, (list) => {
        const nodes = list.map(nodeOf);
        const table = new NameTable();
        const found = treeNamesOf(encodeTree(nodes), table);
        expect(found.count).toBe(nodes.length);
        for (const [place, node] of nodes.entries()) {
          expect(table.nameOf(found.names[place] ?? -1)).toBe(node.name);
          expect(found.typeAt(place)).toBe(node.type);
          expect(found.isUnsafeAt(place)).toBe(false);
          expect(found.sizeAt(place)).toBe(node.sizeBytes ?? 0);
          expect(found.modifiedNsAt(place)).toBe(node.modifiedNs);
          expect(found.subtreeAt(place)).toBe(node.subtree);
          if (node.type === 'file') expect(found.contentIdAt(place)).toBe(contentIdOf(node.content ?? []));
        }
      }),
    );
  });
});

describe('a table of names', () => {
  it('gives each name one number, however many there are', () => {
    const table = new NameTable();
    const all = Array.from({ length: 20_000 }, (_, nth) => `name-${nth}`);
    const numbers = all.map((text) => table.numberOfName(text));
    expect(new Set(numbers).size).toBe(all.length);
    expect(table.count).toBe(all.length);
    for (const [nth, text] of all.entries()) {
      expect(table.numberOfName(text)).toBe(numbers[nth]);
      expect(table.nameOf(numbers[nth] ?? 0)).toBe(text);
    }
  });
});
