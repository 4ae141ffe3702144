import { z } from 'zod';

/** The database of the service itself, for configs of the entity `system` only: `{ "type": "own_database" }`. */
export const ownDatabaseSourceOptionsSchema = z
  .strictObject({ type: z.literal('own_database') })
  .describe("Holdfast's own database with its master key, for configs of the entity system: what `holdfast rescue` needs");

export type OwnDatabaseSourceOptions = z.infer<typeof ownDatabaseSourceOptionsSchema>;
