import { mkdir, mkdtemp, realpath, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isHoldfastError } from '@holdfast/errors/holdfast-error';
import fc from 'fast-check';
import { beforeEach, afterEach, describe, expect, it } from 'vitest';
import { isInsideRoots, parseRoots, resolveInsideRoots } from './allowed-roots.ts';

describe('parseRoots', () => {
  it('reads folders between colons, each once', () => {
    expect(parseRoots('/srv:/home/a/:/srv//:/x/../y')).toEqual(['/srv', '/home/a', '/y']);
    expect(parseRoots('/')).toEqual(['/']);
  });

  it('takes nothing for no root', () => {
    expect(parseRoots('')).toEqual([]);
    expect(parseRoots('::')).toEqual([]);
  });

  it.each(['srv', '/a:b', './a', ' /a', '/a\0'])('refuses %j', (text) => {
    expect(() => parseRoots(text)).toThrow(expect.objectContaining({ code: 'configuration_invalid' }));
  });
});

describe('isInsideRoots', () => {
  it.each(['/srv', '/srv/', '/srv/a', '/srv/./a', '//srv/a', '/x/../srv/a', '/srv/..a'])('takes %s', (path) => {
    expect(isInsideRoots(path, ['/srv'])).toBe(true);
  });

  it.each(['', 'srv', './srv', '/', '/srvx', '/srv/..', '/srv/../etc', '/srv/a/../../etc', '/srv\0', '/etc'])('refuses %j', (path) => {
    expect(isInsideRoots(path, ['/srv'])).toBe(false);
  });

  it('allows nothing without roots, and everything with /', () => {
    expect(isInsideRoots('/srv', [])).toBe(false);
    expect(isInsideRoots('/any/thing', ['/'])).toBe(true);
  });

  it('is never talked out of the roots, whatever the path is made of', () => {
    const part = fc.oneof(fc.constantFrom('..', '.', '', 'srv', 'a', '..a', 'a..', '/', '\0', ' '), fc.string({ maxLength: 4 }));
    fc.assert(
      fc.property(fc.array(part, { maxLength: 10 }), (parts) => {
        const path = `/${parts.join('/')}`;
        // A reader of its own: names pushed and popped one after the other.
        const stack: string[] = [];
        for (const name of path.split('/')) {
          if (name === '..') stack.pop();
          else if (name !== '' && name !== '.') stack.push(name);
        }
        const isInside = stack[0] === 'srv' && stack[1] === 'a' && !path.includes('\0');
        expect(isInsideRoots(path, ['/srv/a'])).toBe(isInside);
      }),
      { numRuns: 500 },
    );
  });
});

describe('resolveInsideRoots', () => {
  let base: string;
  let root: string;
  beforeEach(async () => {
    base = await realpath(await mkdtemp(join(tmpdir(), 'holdfast-roots-')));
    root = join(base, 'root');
    await mkdir(join(root, 'folder'), { recursive: true });
    await mkdir(join(base, 'outside'));
    await writeFile(join(base, 'outside', 'file'), 'secret');
  });
  afterEach(() => rm(base, { recursive: true }));

  const outside = (error: unknown): boolean => isHoldfastError(error, 'path_outside_roots');

  it('gives real paths of what exists and of what does not', async () => {
    expect(await resolveInsideRoots(join(root, 'folder'), [root])).toBe(join(root, 'folder'));
    expect(await resolveInsideRoots(`${root}/folder/../new/er/`, [root])).toBe(join(root, 'new', 'er'));
    await symlink('folder', join(root, 'link'));
    expect(await resolveInsideRoots(join(root, 'link', 'new'), [root])).toBe(join(root, 'folder', 'new'));
  });

  it('refuses symlinks that lead out, at the end, on the way, in steps, and to nothing', async () => {
    await symlink(join(base, 'outside'), join(root, 'absolute'));
    await symlink('../outside', join(root, 'relative'));
    await symlink('absolute', join(root, 'steps'));
    for (const name of ['absolute', 'relative', 'steps', 'absolute/file', 'relative/new', 'steps/a/b']) {
      await expect(resolveInsideRoots(join(root, name), [root])).rejects.toSatisfy(outside);
    }
    await symlink('../outside/not-there', join(root, 'dangling'));
    for (const name of ['dangling', 'dangling/a']) {
      await expect(resolveInsideRoots(join(root, name), [root])).rejects.toSatisfy((error) => isHoldfastError(error, 'path_not_readable'));
    }
  });

  it('refuses a path outside that a symlink leads in from', async () => {
    await symlink(root, join(base, 'entrance'));
    await expect(resolveInsideRoots(join(base, 'entrance', 'folder'), [root])).rejects.toSatisfy(outside);
  });

  it('takes a root that is itself a symlink for what it leads to', async () => {
    await symlink(root, join(base, 'entrance'));
    expect(await resolveInsideRoots(join(base, 'entrance', 'folder'), [join(base, 'entrance')])).toBe(join(root, 'folder'));
  });

  it('says so when it cannot look, and stops at a ring of links', async () => {
    await symlink('ring', join(root, 'ring'));
    await expect(resolveInsideRoots(join(root, 'ring', 'a'), [root])).rejects.toSatisfy((error) =>
      isHoldfastError(error, 'path_not_readable'),
    );
    await expect(resolveInsideRoots(root, [])).rejects.toSatisfy(outside);
  });
});
