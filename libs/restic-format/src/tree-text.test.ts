import fc from 'fast-check';
import { expect, it } from 'vitest';
import { encodeNode, encodeNodeName, type TreeNode } from './node.ts';
import { decodeNodeText, encodeNodeText, joinTree, splitTree } from './tree-text.ts';
import { compareNames } from './file-name.ts';
import { decodeTree, encodeTree } from './tree.ts';

const base = { modifiedNs: 1n, accessedNs: 1n, changedNs: 2_000_000_000n, uid: 1, gid: 2, mode: 420 };
const file = (name: string, more: Partial<TreeNode> = {}): TreeNode => ({ ...base, name, type: 'file', content: [], ...more });

const names = fc
  .oneof(
    fc.string({ minLength: 1, maxLength: 8 }),
    fc.constantFrom('a","type":"', ',{"name":"x","type":"', '\\', '"', '\\"', ']}', '\n', 'ü'),
  )
  .filter((name) => !/[/\0]/.test(name) && name !== '.' && name !== '..' && name.isWellFormed());
const attributes = fc
  .dictionary(fc.string({ minLength: 1, maxLength: 6 }), fc.uint8Array({ maxLength: 5 }))
  .map((all) => new Map(Object.entries(all)));
const trees = fc
  .uniqueArray(names, { maxLength: 8 })
  .chain((all) =>
    fc.tuple(
      ...all
        .toSorted(compareNames)
        .map((name) => attributes.map((extendedAttributes) => file(name, { extendedAttributes, content: ['ab'.repeat(32)] }))),
    ),
  );

it('splits a tree into what it was joined of, hostile names and attributes included', () => {
  fc.assert(
    fc.property(trees, (nodes) => {
      const split = splitTree(encodeTree(nodes));
      expect([...(split?.nodes ?? [])]).toEqual(nodes.map((node) => [encodeNodeName(node.name), encodeNode(node)]));
      expect([...(split?.nodes.values() ?? [])].map(decodeNodeText)).toEqual(decodeTree(encodeTree(nodes)));
      expect(joinTree(nodes.map(encodeNodeText))).toEqual(encodeTree(nodes));
    }),
  );
});

it('splits an empty tree', () => {
  expect(splitTree(encodeTree([]))?.nodes.size).toBe(0);
});

it.each([
  '',
  '{}',
  '{"nodes":null}',
  '{"nodes":[ {"name":"a","type":"file"}]}',
  '{"nodes":[{"type":"file","name":"a"}]}',
  '{"nodes":[]} x',
])('leaves %s to the decoder', (text) => {
  expect(splitTree(Buffer.from(text))).toBe(null);
});

it('refuses to join what is not sorted', () => {
  expect(() => joinTree([file('b'), file('a')].map(encodeNodeText))).toThrow('sorted');
  expect(() => joinTree([file('a'), file('a')].map(encodeNodeText))).toThrow('sorted');
});
