import { Writable } from 'node:stream';
import { pino, type DestinationStream, type Logger } from 'pino';
import type { ApiConfig } from './config.ts';

/** Names whose values never reach a log, wherever an object that is logged holds them, down to two levels. */
const secretNames = [
  'authorization',
  'cookie',
  'token',
  'encryptionKey',
  'password',
  'sourcePassword',
  'sourcePasswords',
  'targetPassword',
  'storageCredentials',
  'credentials',
  'masterKey',
  'jwtSecret',
  'databaseUrl',
  'redisUrl',
];

/** JSON lines to `destination` (stdout when not given), or lines for eyes when `logPretty` is set. */
export function createLogger(settings: Pick<ApiConfig, 'logLevel' | 'logPretty'>, destination: DestinationStream = process.stdout): Logger {
  const paths = secretNames.flatMap((name) => [name, `*.${name}`, `*.*.${name}`]);
  return pino(
    { level: settings.logLevel, base: { app: 'api', pid: process.pid }, redact: { paths, censor: '[redacted]' } },
    settings.logPretty ? linesForEyes(destination) : destination,
  );
}

function linesForEyes(destination: DestinationStream): Writable {
  return new Writable({
    decodeStrings: false,
    write(line: string, _encoding, done) {
      const { level, time, msg, err, pid: _pid, app: _app, ...rest }: Record<string, unknown> = JSON.parse(line);
      const clock = new Date(Number(time)).toISOString().slice(11, 23);
      const label = (pino.levels.labels[Number(level)] ?? 'info').toUpperCase().padEnd(5);
      const stack = typeof err === 'object' && err !== null && 'stack' in err ? `\n${String(err.stack)}` : '';
      const more = Object.keys(rest).length === 0 ? '' : ` ${JSON.stringify(rest)}`;
      destination.write(`${clock} ${label} ${typeof msg === 'string' ? msg : ''}${more}${stack}\n`);
      done();
    },
  });
}
