import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { compileExcludes, isExcludePattern } from './exclude-patterns.ts';

const excludes = (patterns: string[], path: string): boolean => compileExcludes(patterns).excludes(path);

describe('exclude patterns', () => {
  it.each([
    ['cache', '/srv/cache'],
    ['cache', '/cache/a/b'],
    ['*.tmp', '/srv/a.tmp'],
    ['*.tmp', '/srv/folder.tmp/kept'],
    ['cache/*.db', '/srv/cache/one.db'],
    ['/srv/data', '/srv/data'],
    ['/srv/data/', '/srv/data/x'],
    ['/srv//data', '/srv/data'],
    ['/srv/x/../data', '/srv/data'],
    ['/srv/*/log', '/srv/a/log'],
    ['/srv/**/log', '/srv/log'],
    ['/srv/**/log', '/srv/a/b/log/x'],
    ['/srv/**', '/srv'],
    ['a/**/b/**/c', '/x/a/1/2/b/c'],
    ['[a-c]?', '/b1'],
    ['[^a-c]', '/d'],
    ['a\\*', '/a*'],
    ['\\!a', '/!a'],
    ['*', '/anything'],
    ['ä?', '/ä€'],
    ['?', '/😀'],
  ])('%s leaves out %s', (pattern, path) => {
    expect(excludes([pattern], path)).toBe(true);
  });

  it.each([
    ['cache', '/srv/cached'],
    ['*.tmp', '/srv/a.tmpx'],
    ['/data', '/srv/data'],
    ['/srv/data', '/srv'],
    ['/srv/*', '/srv'],
    ['/srv/*/log', '/srv/a/b/log'],
    ['cache/*.db', '/srv/cache/sub/one.db'],
    ['[a-c]', '/d'],
    ['[^a-c]', '/a'],
    ['A', '/a'],
    ['a\\*', '/ab'],
    ['?', '/ab'],
  ])('%s keeps %s', (pattern, path) => {
    expect(excludes([pattern], path)).toBe(false);
  });

  it('takes back with !, the last word counts', () => {
    expect(excludes(['*.log', '!keep.log'], '/keep.log')).toBe(false);
    expect(excludes(['*.log', '!keep.log'], '/other.log')).toBe(true);
    expect(excludes(['*.log', '!keep.log', '/keep.log'], '/keep.log')).toBe(true);
    expect(excludes(['!keep.log'], '/keep.log')).toBe(false);
  });

  it.each(['[', '[a', '[]', '[a-', '[-a]', 'a\\', 'x/[/y', '/', '.', '..', '!', '../a'])('refuses %s', (pattern) => {
    expect(isExcludePattern(pattern)).toBe(false);
    expect(() => compileExcludes([pattern])).toThrow(expect.objectContaining({ code: 'request_invalid' }));
  });

  it('does not slow down on patterns with many stars', () => {
    const pattern = `${'**/'.repeat(30)}${'*a'.repeat(30)}b`;
    const path = `/${'a/'.repeat(30)}${'a'.repeat(200)}`;
    const startedAtMs = performance.now();
    expect(excludes([pattern], path)).toBe(false);
    expect(performance.now() - startedAtMs).toBeLessThan(500);
  });
});

describe('exclude patterns, for any path', () => {
  const name = fc.stringMatching(/^[a-c]{1,3}$/);
  const path = fc.array(name, { minLength: 1, maxLength: 5 });
  const patternName = fc.oneof(name, fc.stringMatching(/^[abc*?]{1,3}$/), fc.constant('**'));
  const pattern = fc.tuple(fc.boolean(), fc.array(patternName, { minLength: 1, maxLength: 4 }));

  it('a path left out takes everything below it along', () => {
    fc.assert(
      fc.property(pattern, path, path, ([isAbsolute, names], above, below) => {
        const rules = compileExcludes([`${isAbsolute ? '/' : ''}${names.join('/')}`]);
        fc.pre(rules.excludes(`/${above.join('/')}`));
        return rules.excludes(`/${[...above, ...below].join('/')}`);
      }),
    );
  });

  it('a path as its own pattern leaves it out, wherever a relative one lies', () => {
    fc.assert(
      fc.property(path, path, (names, above) => {
        expect(excludes([`/${names.join('/')}`], `/${names.join('/')}`)).toBe(true);
        expect(excludes([names.join('/')], `/${[...above, ...names].join('/')}`)).toBe(true);
      }),
    );
  });

  it('says the same as the rules spelled out as a regular expression', () => {
    fc.assert(
      fc.property(pattern, path, ([isAbsolute, names], pathNames) => {
        const steps = names.map((one) => (one === '**' ? '(?:/[^/]+)*' : `/${one.replaceAll(/\*+/g, '[^/]*').replaceAll('?', '[^/]')}`));
        const expected = new RegExp(`^${isAbsolute ? '' : '(?:/[^/]+)*'}${steps.join('')}(?:/.*)?$`);
        const text = `/${pathNames.join('/')}`;
        expect(excludes([`${isAbsolute ? '/' : ''}${names.join('/')}`], text)).toBe(expected.test(text));
      }),
      { numRuns: 500 },
    );
  });
});
