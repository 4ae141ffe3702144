import { HoldfastError } from '@holdfast/errors/holdfast-error';
import type pg from 'pg';

/**
 * The settings of a `pg` connection to `url`: named, and in UTC whatever the server's setting is.
 * The URL's own `options` are kept. Code: configuration_invalid (the message never repeats the URL, which holds a password).
 */
export function connectionConfig(url: string, applicationName: string): pg.ClientConfig {
  if (!URL.canParse(url)) throw new HoldfastError('configuration_invalid', 'the database URL is not a URL');
  const parsed = new URL(url);
  if (parsed.protocol !== 'postgresql:' && parsed.protocol !== 'postgres:') {
    throw new HoldfastError('configuration_invalid', `the database URL begins with ${parsed.protocol} instead of postgresql:`);
  }
  const given = parsed.searchParams.get('options');
  parsed.searchParams.set('options', given === null ? '-c TimeZone=UTC' : `${given} -c TimeZone=UTC`);
  return { connectionString: parsed.href, application_name: applicationName, keepAlive: true };
}
