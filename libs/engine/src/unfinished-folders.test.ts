import type { TargetNode } from '@holdfast/sources/target';
import { expect, it } from 'vitest';
import { parentOf, UnfinishedFolders } from './unfinished-folders.ts';

const node: TargetNode = { name: 'x', type: 'dir', mode: 0, modifiedNs: 0n, accessedNs: 0n, uid: 0, gid: 0, sizeBytes: 0 };

function openFolders(paths: readonly string[]): { folders: UnfinishedFolders; finished: string[] } {
  const finished: string[] = [];
  const folders = new UnfinishedFolders((path) => finished.push(path));
  for (const path of paths) folders.hold(parentOf(path));
  return { folders, finished };
}

it('finishes a folder when the last thing in it is there, and those above after it', () => {
  const { folders, finished } = openFolders(['/a', '/a/b', '/a/c']);
  folders.hold('/a/b');
  folders.hold('/a/b');
  folders.hold('/a/c');
  for (const path of ['/a/b', '/a/c', '/a']) folders.addWalked(path, node);
  folders.release('/a/b');
  folders.begin();
  expect(finished).toEqual([]);
  folders.release('/a/c');
  expect(finished).toEqual(['/a/c']);
  folders.release('/a/b');
  expect(finished).toEqual(['/a/c', '/a/b', '/a']);
});

it('finishes nothing before it knows what will hold it, nor what was not walked through', () => {
  const { folders, finished } = openFolders(['/a', '/a/b', '/a/c']);
  folders.hold('/a/b');
  folders.release('/a/b');
  folders.addWalked('/a/b', node);
  folders.begin();
  expect(finished).toEqual([]);
  for (const finish of folders.finishable()) finish();
  expect(finished).toEqual(['/a/b']);
  folders.pause();
  folders.addWalked('/a/c', undefined);
  folders.addWalked('/a', node);
  folders.begin();
  for (const finish of folders.finishable()) finish();
  // The one that stays as it is holds those above no longer.
  expect(finished).toEqual(['/a/b', '/a']);
});
