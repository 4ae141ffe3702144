import { recoveryOptionsSchema } from '@holdfast/sources/recovery-options';
import { z } from 'zod';

const described = z.toJSONSchema(recoveryOptionsSchema, {
  io: 'input',
  // Within a document of the API, where the parts of a schema cannot be named anew.
  reused: 'inline',
  override: ({ jsonSchema }) => {
    if (jsonSchema.additionalProperties === false) delete jsonSchema.additionalProperties;
    delete jsonSchema.required;
  },
});
delete described.$schema;

/**
 * The options of a recovery as its row has them, for descriptions of the API. Nothing is checked or filled in on the way out: a row of an older
 * version lacks what came later, and is shown as it is. So what is described has no field that must be there, and forbids none.
 */
export const recoveryOptionsView = z.unknown().meta({
  ...described,
  description: 'Which paths or tables, where to, and what becomes of what is at the target: as given, with what holds where nothing was',
});
