import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { errorCodes, type ErrorCode } from '@holdfast/errors/error-codes';
import { UnrecoverableError } from 'bullmq';
import { describe, expect, test } from 'vitest';
import { endOfJob, toBullmqError } from './bullmq-error.ts';

describe('toBullmqError', () => {
  const codes = Object.keys(errorCodes) as ErrorCode[];

  test.each(codes)('%s comes again just when the table says so', (code) => {
    const error = toBullmqError(new HoldfastError(code, 'it broke'));
    expect(error instanceof UnrecoverableError).toBe(errorCodes[code].retry === 'never');
    expect(error.message).toBe(`${code}: it broke`);
  });

  test('an ended run never comes again', () => expect(endOfJob({ code: 'storage_full', message: 'x' })).toBeInstanceOf(UnrecoverableError));
});
