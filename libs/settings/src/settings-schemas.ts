import { z } from 'zod';

// Settings that more than one program reads: one meaning, one limit.

const maxPort = 65_535;
/** Supervisors kill what has not ended within minutes; a run that is cut off goes on at another worker. */
const maxGraceSeconds = 3600;

export const portSetting = z.coerce.number().int().min(0).max(maxPort);
export const graceSecondsSetting = z.coerce.number().int().min(0).max(maxGraceSeconds).default(30);
export const absoluteFolderSetting = z.string().startsWith('/', 'must be an absolute folder').optional();
export const databaseUrlSetting = z
  .string({ error: 'is missing; give the PostgreSQL URL' })
  .regex(/^postgres(ql)?:\/\//u, 'must begin with postgresql://');
export const redisUrlSetting = z
  .string()
  .regex(/^rediss?:\/\//u, 'must begin with redis:// or rediss://')
  .optional();
export const logLevelSetting = z.enum(['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent']).default('info');
/** Base64 of 32 bytes; what is made of it is the reader's. */
export const masterKeySetting = z.string({ error: 'is missing; make one with `openssl rand -base64 32`' });
export const masterKeyMessage = 'must be 32 bytes in base64, such as `openssl rand -base64 32` gives';
export const rootsSetting = z.string().default('');
export const rootsMessage = 'must be absolute folders with `:` between them';
/** Whether a config may have a worker use what its own surroundings (environment, instance role) let it do. */
export const ambientCredentialsSetting = z.stringbool().default(false);
export const hostsSetting = z.string().default('');
export const hostsMessage = 'must be names or addresses, each with `:port` or without, with `,` between them';
