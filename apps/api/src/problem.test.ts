import { describe, expect, test } from 'vitest';
import { errorCodes, type ErrorCode } from '@holdfast/errors/error-codes';
import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { fieldError, statusByCode, toHoldfastError, toProblem } from './problem.ts';

const codes = Object.keys(errorCodes) as ErrorCode[];

describe('the table of statuses', () => {
  test('knows every code and no other', () => {
    expect(Object.keys(statusByCode).toSorted()).toEqual(codes.toSorted());
  });

  test.each(codes)('%s becomes a problem of its own', (code) => {
    const problem = toProblem(new HoldfastError(code, 'the thing is wrong'), 'r1');
    expect(problem).toMatchObject({ type: `urn:holdfast:error:${code}`, code, status: statusByCode[code], instance: 'urn:request:r1' });
    expect(problem.title).toBe(code.replaceAll('_', ' '));
    expect(problem.hint).not.toBe('');
  });

  test.each(codes.filter((code) => errorCodes[code].fault === 'defect'))('%s is our side’s fault', (code) => {
    expect(statusByCode[code]).toBe(500);
  });

  test.each(codes.filter((code) => errorCodes[code].fault === 'input'))('%s is the caller’s to mend', (code) => {
    expect(statusByCode[code]).toBeLessThan(500);
  });
});

describe('problems', () => {
  test('of our own faults tell nothing but the code', () => {
    const problem = toProblem(toHoldfastError(new Error('password=hunter2 at /srv/x.ts:3')), 'r2');
    expect(problem).toMatchObject({ status: 500, code: 'internal', detail: 'something went wrong on our side' });
    expect(JSON.stringify(problem)).not.toContain('hunter2');
    const inner = toProblem(new HoldfastError('internal', 'row 17 is odd', { hint: 'secret hint', context: { row: 17 } }), 'r3');
    expect(JSON.stringify(inner)).not.toMatch(/row 17|secret hint|context/u);
  });

  test('name the fields that are wrong', () => {
    const problem = toProblem(fieldError('path_outside_roots', [{ field: 'source.paths.0', message: 'is outside' }]), 'r4');
    expect(problem).toMatchObject({
      status: 422,
      detail: 'source.paths.0: is outside',
      errors: [{ field: 'source.paths.0', message: 'is outside' }],
    });
  });

  test('show no other context', () => {
    const problem = toProblem(new HoldfastError('not_found', 'there is no job x', { context: { table: 'backup_jobs' } }), 'r5');
    expect(problem).not.toHaveProperty('errors');
    expect(JSON.stringify(problem)).not.toContain('backup_jobs');
  });

  test.each([
    ['FST_ERR_CTP_BODY_TOO_LARGE', 413, 'request_too_large'],
    ['FST_ERR_CTP_INVALID_MEDIA_TYPE', 400, 'request_invalid'],
    ['FST_ERR_CTP_INVALID_JSON_BODY', 400, 'request_invalid'],
  ])('translate the framework’s %s', (frameworkCode, status, code) => {
    const error = Object.assign(new Error('x'), { code: frameworkCode, statusCode: status });
    expect(toProblem(toHoldfastError(error), 'r')).toMatchObject({ status, code });
  });
});
