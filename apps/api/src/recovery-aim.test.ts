import { recoveryOptionsSchema } from '@holdfast/sources/recovery-options';
import { describe, expect, test } from 'vitest';
import { toHoldfastError, toProblem } from './problem.ts';
import { checkSelection, fileField, filePlace } from './recovery-aim.ts';

const config = { targetRoots: ['/srv/restored', '/srv/mine/deep'] };

interface Given {
  readonly type?: string;
  readonly targetLocation?: string;
  readonly [field: string]: unknown;
}

/** The place, or the code with the field that is named. */
function check({ type = 'full', targetLocation, ...fields }: Given): string {
  const aim = recoveryOptionsSchema.parse(fields);
  try {
    checkSelection(type, aim);
    return filePlace(aim, targetLocation, config);
  } catch (error) {
    const problem = toProblem(toHoldfastError(error), 'test');
    return `${problem.code} ${problem.errors?.[0]?.field}`;
  }
}

describe('where files are recovered to', () => {
  test.each<[Given, string]>([
    [{ targetLocation: '/srv/restored/a' }, '/srv/restored/a'],
    [{}, 'request_invalid targetLocation'],
    [{ targetLocation: '/etc' }, 'path_outside_roots targetLocation'],
    [{ targetLocation: '/srv/restored/../../etc' }, 'path_outside_roots targetLocation'],
    [{ type: 'selective', targetLocation: '/srv/restored/a' }, 'request_invalid paths'],
    [{ type: 'selective', targetLocation: '/srv/restored/a', globs: ['*.txt'] }, '/srv/restored/a'],
    [{ targetLocation: '/srv/restored/a', excludes: ['*.txt'] }, 'request_invalid excludes'],
    [{ targetLocation: '/srv/restored/a', stripPrefix: '/a', stripComponents: 1 }, 'request_invalid stripComponents'],
    [{ type: 'selective', targetLocation: '/srv/restored/a', paths: ['/b/c'], stripPrefix: '/a' }, 'request_invalid paths'],
    [{ type: 'selective', targetLocation: '/srv/restored/a', paths: ['/a/c', '/'], stripPrefix: '/a' }, '/srv/restored/a'],
    [{ toOriginal: true, overwrite: 'if-changed' }, '/'],
    [{ toOriginal: true }, 'request_invalid overwrite'],
    [{ toOriginal: true, overwrite: true, targetLocation: '/srv/restored/a' }, 'request_invalid targetLocation'],
    [{ toOriginal: true, overwrite: true, prefix: 'a' }, 'request_invalid prefix'],
    [{ type: 'selective', toOriginal: true, overwrite: true, paths: ['/srv/restored', '/etc/passwd'] }, 'path_outside_roots paths.1'],
    [{ type: 'selective', toOriginal: true, overwrite: true, paths: ['/srv/restored/a/../../../etc'] }, 'path_outside_roots paths.0'],
    [{ targetLocation: '/srv/restored/a', deletesExtra: true }, 'request_invalid deletesExtra'],
    [{ targetLocation: '/srv/restored/a', deletesExtra: true, overwrite: true }, '/srv/restored/a'],
    [{ targetLocation: '/srv/restored/', deletesExtra: true, overwrite: true }, 'request_invalid targetLocation'],
    [{ type: 'selective', toOriginal: true, overwrite: true, deletesExtra: true, paths: ['/srv/mine/deep'] }, 'request_invalid paths.0'],
  ])('of %j: %s', (given, expected) => expect(check(given)).toBe(expected));
});

test('fields that are for files only are told by name', () => {
  const named = (fields: object) => fileField(recoveryOptionsSchema.parse(fields));
  expect([{}, { overwrite: true }, { owners: 'keep' }].map(named)).toEqual([undefined, undefined, undefined]);
  const fields = [{ overwrite: 'never' }, { dryRun: true }, { owners: 'none' }, { stripComponents: 1 }, { prefix: 'a' }];
  expect(fields.map(named)).toEqual(['overwrite', 'dryRun', 'owners', 'stripComponents', 'prefix']);
});

test.each([
  { prefix: '../out' },
  { prefix: 'a/./b' },
  { overwrite: 'sometimes' },
  { stripComponents: -1 },
  { owners: 'mine' },
  { owners: { users: { 'a:b': 1 } } },
  { owners: { users: { ann: -1 } } },
  { owners: { people: {} } },
  { globs: ['..'] },
  { globs: [] },
])('%j is no option of a recovery', (fields) => expect(recoveryOptionsSchema.safeParse(fields).success).toBe(false));
