import { expect, test } from 'vitest';

import { configName, idOfName, indexName, keyName, lockName, packName, snapshotName } from './layout.ts';
import { hashOf, isObjectId } from './object-id.ts';

const id = hashOf(Buffer.from('abc'));

test('an id is the SHA-256 in lower-case hex', () => {
  expect(id).toBe('ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad');
  expect(isObjectId(id)).toBe(true);
  for (const other of [id.toUpperCase(), id.slice(1), `${id}0`, ` ${id}`, `${id}\n`, '', 5, null]) expect(isObjectId(other)).toBe(false);
});

test('every name gives its id back', () => {
  expect(packName(id)).toBe(`data/ba/${id}`);
  for (const name of [packName(id), indexName(id), snapshotName(id), lockName(id), keyName(id)]) expect(idOfName(name)).toBe(id);
});

test('names that the layout does not make have no id', () => {
  const others = [configName, id, `data/${id}`, `data/bb/${id}`, `index/${id}.tmp`, `other/${id}`, `/index/${id}`, 'index/', ''];
  for (const name of others) expect(idOfName(name)).toBeNull();
});
