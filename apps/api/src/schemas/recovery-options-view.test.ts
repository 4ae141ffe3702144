import { recoveryOptionsSchema } from '@holdfast/sources/recovery-options';
import { expect, test } from 'vitest';
import { z } from 'zod';
import { recoveryOptionsView } from './recovery-options-view.ts';

const described = z.toJSONSchema(z.object({ options: recoveryOptionsView })).properties?.['options'];

test('every option is described by its type, none has to be there, and none is forbidden', () => {
  expect(described).toMatchObject({
    type: 'object',
    properties: {
      dryRun: { type: 'boolean', default: false },
      paths: { type: 'array' },
      rows: { type: 'object' },
      tablespaces: { additionalProperties: { type: 'string' } },
      database: { type: 'object' },
    },
  });
  expect(Object.keys(Object(described).properties)).toEqual(Object.keys(recoveryOptionsSchema.shape));
  const text = JSON.stringify(described);
  for (const word of ['additionalProperties":false', '"required"', '$ref', '$schema']) expect(text).not.toContain(word);
});

test.each([{ paths: ['/a'], overwrite: true }, { ofAnOlderVersion: 1 }, {}, null])('%j of a row is shown as it is', (options) => {
  expect(recoveryOptionsView.parse(options)).toBe(options);
});
