import { z } from 'zod';
import { absolutePathSchema, patternsSchema } from './source-options/path-fields.ts';

/** How the files of a snapshot are recovered: which, where to, over what, and whose they become. Nothing here touches the disk. */

/** More is a full recovery with excludes, and every entry of the snapshot is held against each. */
const maxPathCount = 1000;
/** Deeper than anybody's folders; a path of 4095 bytes has at most 2047 names. */
const maxStrippedComponents = 64;
/** PATH_MAX of Linux is 4096, and something is to be put below. */
const maxPrefixLength = 1024;
/** More is a directory of users, and mapping it is the work of a directory service. */
const maxOwnerCount = 1000;
/** LOGIN_NAME_MAX of Linux. */
const maxOwnerLength = 256;
/** The number above it stands for nobody in chown(2). */
const maxOwnerId = 0xffff_fffe;

/** What becomes of files that are there: see the engine's overwrite policies, which these are. */
export const overwritePolicies = ['always', 'if-changed', 'if-newer', 'never'] as const;

const ownerSchema = z
  .string()
  .min(1)
  .max(maxOwnerLength)
  .regex(/^[^:\s/]+$/u, 'must be the name of a user or group, or its number');

const ownersOfKindSchema = z
  .record(ownerSchema, z.union([ownerSchema, z.int().min(0).max(maxOwnerId)]))
  .refine((map) => Object.keys(map).length <= maxOwnerCount, { error: `may name at most ${maxOwnerCount} owners` });

export const ownersSchema = z.union([
  z.enum(['keep', 'none']),
  z.strictObject({ users: ownersOfKindSchema.optional(), groups: ownersOfKindSchema.optional() }),
]);

export type Owners = z.output<typeof ownersSchema>;

const prefixSchema = z
  .string()
  .min(1)
  .max(maxPrefixLength)
  .refine((path) => !path.includes('\0') && path.split('/').every((name) => name !== '.' && name !== '..'), {
    error: 'must be made of plain names, without "." and ".."',
  });

export const fileRecoveryFields = {
  paths: z.array(absolutePathSchema).min(1).max(maxPathCount).optional(),
  globs: patternsSchema.min(1).optional(),
  excludes: patternsSchema.min(1).optional(),
  toOriginal: z.boolean().default(false),
  stripPrefix: absolutePathSchema.optional(),
  stripComponents: z.int().min(0).max(maxStrippedComponents).default(0),
  prefix: prefixSchema.optional(),
  overwrite: z.union([z.boolean(), z.enum(overwritePolicies)]).default(false),
  deletesExtra: z.boolean().default(false),
  owners: ownersSchema.default('keep'),
  dryRun: z.boolean().default(false),
};
