import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { formatLsn, type Lsn } from '../lsn.ts';

/**
 * The settings that make a server recover: where WAL comes from and where to stop. One setting names the target; two would be refused.
 *
 *     restore_command = 'cp ''/srv/wal''/%f "%p"'
 *     recovery_target_time = '2026-05-01 01:00:00.123456+00'
 *     recovery_target_inclusive = 'on'
 *     recovery_target_timeline = '1'
 *     recovery_target_action = 'promote'
 *
 * Source: PostgreSQL's documentation, "Archive Recovery" and "Recovery Target", 14 to 18.
 */
export type RecoveryStop =
  /** Microseconds since 1970, UTC. */
  | { readonly kind: 'time'; readonly timeUs: bigint; readonly inclusive: boolean }
  | { readonly kind: 'lsn'; readonly lsn: Lsn; readonly inclusive: boolean }
  | { readonly kind: 'name'; readonly name: string }
  /** As soon as the base backup is consistent. */
  | { readonly kind: 'immediate' }
  /** No target: all WAL that is found. */
  | { readonly kind: 'end_of_wal' };

export interface RecoverySettings {
  readonly stop: RecoveryStop;
  readonly timeline: number;
  /** An absolute folder with segments and history files under their own names. */
  readonly walDir: string;
  /** What a server does at the target; `pause` needs hot_standby. */
  readonly action: 'promote' | 'pause' | 'shutdown';
}

/** MAXFNAMELEN of a restore point's name is 64 with its NUL. */
const maxRestorePointBytes = 63;
const maxLsn = (1n << 64n) - 1n;
/** PostgreSQL's calendar begins before and ends long after any backup: 2000 to 9999. */
const minTimeUs = 946_684_800_000_000n;
const maxTimeUs = 253_402_300_799_999_999n;
const maxTimeline = 0xffff_ffff;

/** Names of settings that say how and where to a server recovers or whom it follows: what a restored one says of them is of its past. */
export const foreignSettings =
  /^(?:restore_command|recovery_end_command|archive_cleanup_command|recovery_target\w*|recovery_min_apply_delay|primary_conninfo|primary_slot_name|promote_trigger_file)$/u;

/** Names with values as they are meant, not quoted. Code: request_invalid, for a target or a folder that no server takes. */
export function recoverySettings({ stop, timeline, walDir, action }: RecoverySettings): [name: string, value: string][] {
  if (!Number.isInteger(timeline) || timeline < 1 || timeline > maxTimeline) throw invalid(`there is no timeline ${timeline}`);
  return [
    ['restore_command', restoreCommand(walDir)],
    ...targetSettings(stop),
    ['recovery_target_timeline', String(timeline)],
    ['recovery_target_action', action],
  ];
}

/** The file's text: a line each. */
export function encodeSettings(settings: readonly (readonly [name: string, value: string])[]): string {
  return settings.map(([name, value]) => `${name} = ${quoteSetting(value)}\n`).join('');
}

/** A shell command; the server puts the file's name for %f, the place to put it (a path of its own, relative) for %p and a % for %%. */
export function restoreCommand(walDir: string): string {
  if (!walDir.startsWith('/')) throw invalid(`the folder of WAL is not absolute: ${JSON.stringify(walDir)}`);
  assertPrintable(walDir, 'the folder of WAL');
  return `cp '${walDir.replaceAll("'", String.raw`'\''`).replaceAll('%', '%%')}'/%f "%p"`;
}

function targetSettings(stop: RecoveryStop): [string, string][] {
  switch (stop.kind) {
    case 'time':
      if (stop.timeUs < minTimeUs || stop.timeUs > maxTimeUs) throw invalid('the time to recover to lies outside of 2000 to 9999');
      return [['recovery_target_time', formatTime(stop.timeUs)], inclusion(stop.inclusive)];
    case 'lsn':
      if (stop.lsn <= 0n || stop.lsn > maxLsn) throw invalid('there is no such LSN to recover to');
      return [['recovery_target_lsn', formatLsn(stop.lsn)], inclusion(stop.inclusive)];
    case 'name':
      if (stop.name === '' || Buffer.byteLength(stop.name) > maxRestorePointBytes)
        throw invalid(`a restore point has a name of 1 to ${maxRestorePointBytes} bytes`);
      assertPrintable(stop.name, 'the name of the restore point');
      return [['recovery_target_name', stop.name]];
    case 'immediate':
      return [['recovery_target', 'immediate']];
    case 'end_of_wal':
      break;
  }
  return [];
}

function inclusion(inclusive: boolean): [string, string] {
  return ['recovery_target_inclusive', inclusive ? 'on' : 'off'];
}

/** With its zone and all six digits, so that no setting of the server changes what it means. */
function formatTime(timeUs: bigint): string {
  const iso = new Date(Number(timeUs / 1_000n)).toISOString().slice(0, -1).replace('T', ' ');
  return `${iso}${(timeUs % 1_000n).toString().padStart(3, '0')}+00`;
}

/** As postgresql.conf reads it: quotes doubled, and a backslash would begin an escape. */
function quoteSetting(value: string): string {
  return `'${value.replaceAll('\\', '\\\\').replaceAll("'", "''")}'`;
}

function assertPrintable(text: string, what: string): void {
  if (/\p{Cc}/u.test(text) || !text.isWellFormed()) throw invalid(`${what} holds a control character`);
}

function invalid(what: string): HoldfastError {
  return new HoldfastError('request_invalid', what);
}
