import { HoldfastError } from '@holdfast/errors/holdfast-error';
import type { S3Keys } from './s3-client.ts';
import type { S3Credentials } from './s3-options.ts';

/**
 * The keys to sign with; undefined for the rights that the machine itself has, which the SDK finds.
 * Errors: storage_denied for the worker's own rights without the operator's word, and for an environment without keys.
 */
export function s3Keys(
  credentials: S3Credentials,
  { allowAmbient, environment }: { readonly allowAmbient: boolean; readonly environment: NodeJS.ProcessEnv },
): S3Keys | undefined {
  if (!('from' in credentials)) {
    const { sessionToken: token, ...keys } = credentials;
    return token === undefined ? keys : { ...keys, sessionToken: token };
  }
  if (!allowAmbient) {
    throw new HoldfastError('storage_denied', `credentials from ${credentials.from} are the worker's own, and not allowed here`, {
      hint: "give an access key, or let the operator allow the worker's own rights",
    });
  }
  if (credentials.from === 'instance_role') return undefined;
  const { AWS_ACCESS_KEY_ID: accessKeyId, AWS_SECRET_ACCESS_KEY: secretAccessKey, AWS_SESSION_TOKEN: sessionToken } = environment;
  if (accessKeyId === undefined || accessKeyId === '' || secretAccessKey === undefined || secretAccessKey === '') {
    throw new HoldfastError('storage_denied', 'the environment of the worker has no AWS_ACCESS_KEY_ID with AWS_SECRET_ACCESS_KEY', {
      hint: 'set both for the worker, or give an access key',
    });
  }
  return { accessKeyId, secretAccessKey, ...(sessionToken === undefined || sessionToken === '' ? {} : { sessionToken }) };
}
