import { z } from 'zod';
import { storageOptionsSchema } from '@holdfast/storage/storage-options';
import { builtStorageLocations, storageLocations } from '../check-config.ts';
import { storageCredentialsSchema } from './storage-credentials.ts';

const encryptionKeyMaxChars = 1024;
const scheduleMaxChars = 200;
const timeZoneMaxChars = 64;

/** Where a repository lies and how it is locked: of a config, or of a second place for copies. */
export const placeFields = {
  encryptionEnabled: z.boolean(),
  encryptionKey: z
    .string()
    .min(1)
    .max(encryptionKeyMaxChars)
    .regex(/^\P{Cc}+$/u, 'must not hold control characters')
    .describe('Password of the repository; made up when left out. It is sealed on arrival and never returned'),
  storageLocation: z.enum(storageLocations).describe(`Now: ${builtStorageLocations.join(', ')}`),
  storageOptions: storageOptionsSchema.describe('Where the repository lives; its type is storageLocation'),
  storageCredentials: storageCredentialsSchema,
};

/** When something is done by itself. */
export const scheduleFields = {
  schedule: z.string().max(scheduleMaxChars).describe('Cron expression of five or six fields'),
  timeZone: z.string().min(1).max(timeZoneMaxChars).describe('IANA time zone in which the schedule is read'),
};
