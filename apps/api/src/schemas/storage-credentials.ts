import { z } from 'zod';

const maxNames = 16;
const nameMaxChars = 64;

/** What lets us in at a storage. Its fields depend on the kind of the storage, so they are checked together with the options. */
export const storageCredentialsSchema = z
  .record(z.string().max(nameMaxChars), z.unknown())
  .refine((value) => Object.keys(value).length <= maxNames, `must not have more than ${maxNames} fields`)
  .describe("What lets us in at the storage, as its kind's page in docs/storages says. Sealed on arrival and never returned");
