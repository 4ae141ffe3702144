import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { errnoCode } from '@holdfast/errors/errno-code';
import { z } from 'zod';

/** What a tour leaves behind for the user to go on with. */
const madeSchema = z.object({ configId: z.string(), repositoryId: z.string(), repositoryFolder: z.string() });
export type TourMade = z.infer<typeof madeSchema>;

/** `.holdfast/tour.json`: a tour has succeeded here, and the next start need not show it again. */
const recordSchema = z.object({ made: madeSchema });
export type TourRecord = z.infer<typeof recordSchema>;

const recordPath = (stateFolder: string): string => join(stateFolder, 'tour.json');

/** Undefined when no tour has succeeded here, or when what is there cannot be understood: then it is shown again. */
export function readTourRecord(stateFolder: string): TourRecord | undefined {
  try {
    return recordSchema.safeParse(JSON.parse(readFileSync(recordPath(stateFolder), 'utf8'))).data;
  } catch (error) {
    if (errnoCode(error) === 'ENOENT' || error instanceof SyntaxError) return undefined;
    throw error;
  }
}

export function writeTourRecord(stateFolder: string, record: TourRecord): void {
  writeFileSync(recordPath(stateFolder), JSON.stringify(record));
}
