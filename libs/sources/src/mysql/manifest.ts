import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { z } from 'zod';
import { encodeName } from '../postgresql/logical/file-names.ts';

/** manifest.json of a backup: what a recovery by program needs to know. A recovery by hand does not need it. */
const databaseSchema = z.object({
  name: z.string(),
  /** Below /databases. */
  folder: z.string(),
  characterSet: z.string(),
  collation: z.string(),
  tables: z.array(z.object({ name: z.string(), kind: z.enum(['table', 'sequence']), engine: z.string(), file: z.string() })),
  views: z.array(z.string()),
});

const manifestSchema = z.object({
  format: z.literal('holdfast-mysql'),
  version: z.literal(1),
  server: z.object({ place: z.string(), product: z.enum(['MariaDB', 'MySQL']), version: z.string() }),
  tools: z.object({ family: z.enum(['mariadb', 'mysql']), version: z.string() }),
  takenAt: z.string(),
  consistency: z.enum(['transaction', 'lock']),
  position: z.object({ file: z.string(), offset: z.number() }).nullable(),
  databases: z.array(databaseSchema),
});

export type MysqlManifest = z.infer<typeof manifestSchema>;
export type DatabaseManifest = z.infer<typeof databaseSchema>;

export const manifestPath = '/manifest.json';
/** NAME_MAX of Linux is 255 bytes. */
const maxNameBytes = 240;
const indexDigits = 5;

/** `00003.orders.sql`: the number is the order in which they are loaded; a name that is too long for a file is in the manifest only. */
export function tableFile(name: string, index: number): string {
  const number = String(index + 1).padStart(indexDigits, '0');
  const encoded = encodeName(name);
  return Buffer.byteLength(encoded) > maxNameBytes ? `${number}.sql` : `${number}.${encoded}.sql`;
}

/** Code: repository_damaged, for a text that no backup of ours can have. */
export function parseManifest(text: string): MysqlManifest {
  try {
    return manifestSchema.parse(JSON.parse(text));
  } catch (error) {
    throw new HoldfastError('repository_damaged', 'manifest.json is none of a backup of MariaDB or MySQL that this version can read', {
      cause: error,
    });
  }
}
