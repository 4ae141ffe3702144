import { expect, test } from 'vitest';
import { movedPath, parseMoved } from './moved-repositories.ts';

test('a folder stands for all below it, and for nothing beside it', () => {
  const moves = [parseMoved('/backup/a=/mnt/a'), parseMoved('/backup/=/mnt/rest/')];
  expect(movedPath('/backup/a', moves)).toBe('/mnt/a');
  expect(movedPath('/backup/a/b', moves)).toBe('/mnt/a/b');
  expect(movedPath('/backup/ab', moves)).toBe('/mnt/rest/ab');
  expect(movedPath('/backups/a', moves)).toBeUndefined();
});

test.each(['/only', 'a=/b', '/a=b', '/a=/b=/c', '='])('%s is refused', (text) => {
  expect(() => parseMoved(text)).toThrow('is not two absolute folders');
});
