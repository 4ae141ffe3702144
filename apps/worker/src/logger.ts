import { Writable } from 'node:stream';
import { pino, type DestinationStream, type Logger } from 'pino';
import type { WorkerConfig } from './config.ts';

/** Names whose values never reach a log, wherever an object that is logged holds them, down to two levels. */
const secretNames = [
  'password',
  'masterKey',
  'sealedPassword',
  'credentials',
  'sealedStorageCredentials',
  'encryptionKey',
  'databaseUrl',
  'redisUrl',
  'connectionString',
  'authorization',
];

/** Writes JSON lines to `destination` (stdout when not given), or lines for people when `logPretty` is set. */
export function createLogger(
  settings: Pick<WorkerConfig, 'logLevel' | 'logPretty'>,
  base: Readonly<Record<string, unknown>>,
  destination: DestinationStream = process.stdout,
): Logger {
  const paths = secretNames.flatMap((name) => [name, `*.${name}`, `*.*.${name}`]);
  return pino(
    { level: settings.logLevel, base, redact: { paths, censor: '***' } },
    settings.logPretty ? prettyLines(destination) : destination,
  );
}

function prettyLines(destination: DestinationStream): Writable {
  return new Writable({
    decodeStrings: false,
    write(line: string, _encoding, done) {
      destination.write(prettyLine(line));
      done();
    },
  });
}

function prettyLine(line: string): string {
  const { level, time, msg, err, ...rest }: Record<string, unknown> = JSON.parse(line);
  const clock = new Date(Number(time)).toISOString().slice(11, 23);
  const label = pino.levels.labels[Number(level)] ?? 'info';
  const more = Object.entries(rest).map(([name, value]) => ` ${name}=${typeof value === 'string' ? value : JSON.stringify(value)}`);
  const error = typeof err === 'object' && err !== null && 'stack' in err ? `\n${String(err.stack)}` : '';
  return `${clock} ${label.toUpperCase().padEnd(5)} ${typeof msg === 'string' ? msg : ''}${more.join('')}${error}\n`;
}
