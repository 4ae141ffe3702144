import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { chmodSync, linkSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import { createChunker } from './chunker.ts';
import { createCipher, type Cipher } from './cipher.ts';
import { decompressBlob } from './compression.ts';
import { decodeConfigFile } from './config-file.ts';
import { permissionBitsOf } from './file-mode.ts';
import { decodeIndexFile } from './index-file.ts';
import { openKeyFile } from './key-file.ts';
import { idOfName } from './layout.ts';
import { decodeLockFile } from './lock-file.ts';
import type { TreeNode } from './node.ts';
import { hashOf, type ObjectId } from './object-id.ts';
import { openPackTail, packTailBytes, packTailLength, type BlobType, type PackedBlob } from './pack.ts';
import { decodeSnapshotFile } from './snapshot-file.ts';
import { findRestic, resticPassword } from './testing/restic-program.ts';
import { decodeTree, encodeTree } from './tree.ts';

/** Reads, with this package alone, repositories that stock restic made, and re-encodes every tree to the same id. */

const scratch = mkdtempSync(join(tmpdir(), 'restic-format-'));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

const source = join(scratch, 'source');
const bigFile = randomBytes(40_000_000);
const oddNames = [
  'plain.txt',
  'quo"te\\back',
  '<&>\u2028',
  'grün 日本 😀',
  'tab\there\nand there',
  'soft\u00adhyphen',
  '\ufeffbom',
  '\ufffd',
  '\u007f',
];

function makeSource(): void {
  mkdirSync(join(source, 'names'), { recursive: true });
  writeFileSync(join(source, 'big'), bigFile);
  writeFileSync(join(source, 'words'), 'words that shrink '.repeat(5000));
  writeFileSync(join(source, 'zeros'), Buffer.alloc(3_000_000));
  writeFileSync(join(source, 'empty'), '');
  mkdirSync(join(source, 'empty folder'));
  for (const name of oddNames) writeFileSync(join(source, 'names', name), name);
  // Not UTF-8: bytes that are none, and a part of a character.
  for (const name of [
    [0xff, 0x61, 0xfe],
    [0x62, 0xc3],
    [0xed, 0xa0, 0x80],
  ]) {
    writeFileSync(Buffer.concat([Buffer.from(join(source, 'names/')), Buffer.from(name)]), 'raw');
  }
  linkSync(join(source, 'words'), join(source, 'second link'));
  symlinkSync('../some <where> & "there"', join(source, 'link'));
  execFileSync('mkfifo', [join(source, 'fifo')]);
  chmodSync(join(source, 'words'), 0o6755);
  chmodSync(join(source, 'empty folder'), 0o1777);
  // Before 1970, which node:fs does not set.
  execFileSync('touch', ['-d', '1969-12-31T23:59:59.5Z', join(source, 'empty')]);
  if (process.getuid?.() === 0) execFileSync('mknod', [join(source, 'null'), 'c', '1', '3']);
}

beforeAll(makeSource);

/** What restic's local storage names an object while it writes it, before the rename. */
const unfinished = /-tmp-\d+$/;

/** Names and bytes of the objects below a folder of the repository. */
function* objectsIn(repository: string, folder: string): Generator<{ id: ObjectId; bytes: Buffer }> {
  for (const entry of readdirSync(join(repository, folder), { recursive: true, withFileTypes: true })) {
    if (!entry.isFile() || unfinished.test(entry.name)) continue;
    const path = join(entry.parentPath, entry.name);
    const id = idOfName(path.slice(repository.length + 1));
    expect(id, path).not.toBeNull();
    yield { id: id ?? '', bytes: readFileSync(path) };
  }
}

async function openCipher(repository: string, password: string): Promise<Cipher | null> {
  for (const { bytes } of objectsIn(repository, 'keys')) {
    const keys = await openKeyFile(bytes, password);
    if (keys) return createCipher(keys);
  }
  return null;
}

/** Every blob of every pack, its plaintext proved by its id; packs and index have to say the same. */
function readBlobs(repository: string, cipher: Cipher): Record<BlobType, Map<ObjectId, Uint8Array>> {
  const plains = { data: new Map<ObjectId, Uint8Array>(), tree: new Map<ObjectId, Uint8Array>() };
  const indexed = new Map<ObjectId, readonly PackedBlob[]>();
  for (const { bytes } of objectsIn(repository, 'index')) {
    for (const pack of decodeIndexFile(bytes, cipher).packs) indexed.set(pack.id, pack.blobs);
  }
  for (const { id: packId, bytes } of objectsIn(repository, 'data')) {
    expect(hashOf(bytes)).toBe(packId);
    const tail = bytes.subarray(-packTailBytes);
    const blobs = openPackTail(bytes.subarray(-Math.max(tail.length, packTailLength(tail, bytes.length))), bytes.length, cipher);
    expect(indexed.get(packId)?.toSorted((a, b) => a.offset - b.offset)).toEqual(blobs);
    for (const { id, type, offset, length, uncompressedLength } of blobs) {
      const opened = cipher.open(bytes.subarray(offset, offset + length));
      const plain = uncompressedLength === undefined ? opened : decompressBlob(opened, uncompressedLength);
      expect(hashOf(plain)).toBe(id);
      plains[type].set(id, plain);
    }
  }
  expect([...indexed.keys()].toSorted()).toEqual([...objectsIn(repository, 'data')].map(({ id }) => id).toSorted());
  return plains;
}

async function readWhileBackupRuns(repository: string, restic: NonNullable<ReturnType<typeof findRestic>>, cipher: Cipher): Promise<void> {
  // A backup from a pipe that stays open holds its lock.
  const backup = restic.start(repository, ['backup', '--stdin']);
  const exited = once(backup, 'exit');
  let locks: Buffer[] = [];
  for (let tries = 0; locks.length === 0 && tries < 200; tries++) {
    await sleep(50);
    locks = [...objectsIn(repository, 'locks')].map(({ bytes }) => bytes);
  }
  const [lock] = locks.map((bytes) => decodeLockFile(bytes, cipher));
  backup.stdin?.end('done');
  await exited;
  expect(lock).toMatchObject({ exclusive: false, hostname: hostname(), pid: backup.pid });
  expect(Math.abs(Number((lock?.timeNs ?? 0n) / 1_000_000n) - Date.now())).toBeLessThan(60_000);
}

describe.each(['path', 'newer'] as const)('a repository of restic (%s)', (which) => {
  const restic = findRestic(which);

  test.skipIf(!restic)(`is read and its trees come back: ${restic?.version ?? 'no such restic'}`, async () => {
    if (!restic) return;
    const repository = join(scratch, which);
    await restic.run(repository, ['init', '--repository-version', '2']);
    await restic.run(repository, ['backup', '--tag', 'one', '--exclude', '*.none', source]);
    await restic.run(repository, ['backup', '--tag', 'zone', source], { TZ: 'America/New_York' });
    await restic.run(repository, ['backup', '--force', '--compression', 'off', '--host', 'other', join(source, 'names')], {
      TZ: 'Asia/Kolkata',
    });
    await restic.run(repository, ['tag', '--tag', 'one', '--add', 'two']);
    writeFileSync(join(scratch, 'second'), 'second password\n');
    await restic.run(repository, ['key', 'add', '--new-password-file', join(scratch, 'second')]);

    const cipher = await openCipher(repository, resticPassword);
    expect(await openCipher(repository, 'wrong')).toBeNull();
    expect(await openCipher(repository, 'second password')).not.toBeNull();
    if (!cipher) throw new Error('no key opens the repository');

    const config = decodeConfigFile(readFileSync(join(repository, 'config')), cipher);
    expect(JSON.parse(await restic.run(repository, ['cat', 'config']))).toEqual({
      version: 2,
      id: config.id,
      chunker_polynomial: config.chunkerPolynomial.toString(16),
    });

    const snapshots = [...objectsIn(repository, 'snapshots')].map(({ bytes }) => decodeSnapshotFile(bytes, cipher));
    expect(snapshots).toHaveLength(3);
    expect(snapshots.find(({ tags }) => tags?.includes('two'))).toMatchObject({
      tags: ['one', 'two'],
      paths: [source],
      original: expect.any(String),
    });
    expect(snapshots.filter(({ zoneMinutes }) => zoneMinutes === 330)).toHaveLength(1);

    const blobs = readBlobs(repository, cipher);
    const nodes = [...blobs.tree].flatMap(([id, bytes]) => {
      const tree = decodeTree(bytes);
      expect(hashOf(encodeTree(tree))).toBe(id);
      return tree;
    });
    checkNodes(nodes);
    checkCuts(nodes, config.chunkerPolynomial);
    for (const id of nodes.flatMap(({ content }) => content ?? [])) expect(blobs.data.has(id)).toBe(true);
    for (const id of [...nodes.flatMap(({ subtree }) => subtree ?? []), ...snapshots.map(({ tree }) => tree)])
      expect(blobs.tree.has(id)).toBe(true);

    await readWhileBackupRuns(repository, restic, cipher);
  });
});

function checkNodes(nodes: readonly TreeNode[]): void {
  const named = (name: string): TreeNode | undefined => nodes.find((node) => node.name === name);
  for (const name of [...oddNames, '\udcffa\udcfe', 'b\udcc3', '\udced\udca0\udc80']) expect(named(name), name).toBeDefined();
  expect(named('link')).toMatchObject({ type: 'symlink', linkTarget: '../some <where> & "there"', content: null });
  expect(named('empty')).toMatchObject({ type: 'file', content: [], modifiedNs: -500_000_000n });
  expect(named('second link')).toMatchObject({ linkCount: 2n, sizeBytes: 90_000 });
  expect(permissionBitsOf(named('words')?.mode ?? 0)).toBe(0o6755);
  expect(permissionBitsOf(named('empty folder')?.mode ?? 0)).toBe(0o1777);
  expect(named('fifo')).toMatchObject({ type: 'fifo' });
  if (process.getuid?.() === 0) expect(named('null')).toMatchObject({ type: 'chardev', device: 259n });
  expect(new Set(nodes.flatMap(({ zoneMinutes }) => zoneMinutes?.[2] ?? 0)).size).toBe(3);
}

/** Our cuts of the big file have to be restic's, id by id. */
function checkCuts(nodes: readonly TreeNode[], polynomial: bigint): void {
  const chunker = createChunker(polynomial);
  const ids: ObjectId[] = [];
  for (let at = 0; at < bigFile.length;) {
    const length = chunker.cut(bigFile, at, bigFile.length, true);
    ids.push(hashOf(bigFile.subarray(at, at + length)));
    at += length;
  }
  expect(ids.length).toBeGreaterThan(10);
  expect(nodes.find(({ name }) => name === 'big')?.content).toEqual(ids);
}
