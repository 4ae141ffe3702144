import { z } from 'zod';

/** sourcePasswords has the token of HTTP hooks under it. */
export const hooksPasswordName = 'hooks';
export const maxPartNameLength = 40;

/** One part of a source of type application_data. */
export const partNameSchema = z
  .string()
  .max(maxPartNameLength)
  .regex(/^[a-z0-9][a-z0-9_-]*$/u, 'must be lower-case letters, digits, _ and -, and begin with a letter or a digit')
  .refine((name) => name !== hooksPasswordName, `must not be ${hooksPasswordName}: that is the name of the hooks' token`)
  .describe('Its folder in the snapshot, and what sourcePasswords calls it');
