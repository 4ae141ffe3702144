/**
 * The one table of errors. A code is stable: clients, alerts and docs/errors.md rely on it.
 *
 * - `fault`: who can mend it: the caller (`input`), the person who runs the service (`operator`), the surroundings
 *   (`environment`: network, disk, another process) or the data at rest (`damage`); `defect` is ours.
 * - `retry`: `later` when the same call may pass after a while with nothing changed by anybody, else `never`.
 * - `hint`: what to do, said to the person who reads the message.
 */
export type Fault = 'input' | 'operator' | 'environment' | 'damage' | 'defect';
export type Retry = 'never' | 'later';

interface ErrorEntry {
  readonly fault: Fault;
  readonly retry: Retry;
  readonly hint: string;
}

const entry = (fault: Fault, retry: Retry, hint: string): ErrorEntry => ({ fault, retry, hint });

export const errorCodes = {
  // requests
  request_invalid: entry('input', 'never', 'correct the named field and send the request again'),
  request_too_large: entry('input', 'never', 'send a smaller body'),
  rate_limited: entry('input', 'later', 'wait for the seconds in the retry-after header'),
  token_missing: entry('input', 'never', 'send an authorization header with a bearer token'),
  token_invalid: entry('input', 'never', 'get a new token with `holdfast token`'),
  role_insufficient: entry('input', 'never', 'use a token of the role that the message names'),
  not_found: entry('input', 'never', 'check the id and that the token may touch its entity'),
  method_not_allowed: entry('input', 'never', 'use one of the methods in the allow header'),
  conflict: entry('input', 'never', 'read the current state and decide again'),
  idempotency_key_reused: entry('input', 'never', 'use a new Idempotency-Key for a different request'),
  credentials_missing: entry('input', 'never', 'send the credentials together with the options of the storage'),
  schedule_invalid: entry('input', 'never', 'use a cron expression of five fields, such as `0 3 * * *`, and an IANA time zone'),
  run_already_finished: entry('input', 'never', 'create a new job: a finished one is not executed again'),
  run_not_finished: entry('input', 'never', 'wait until the job has completed'),
  backup_not_usable: entry('input', 'never', 'choose a completed backup whose snapshot has not expired'),
  config_inactive: entry('input', 'never', 'activate the config, or use another one'),
  type_not_supported: entry('input', 'never', 'this version does not do this kind yet; see the README for what it does'),

  // paths
  path_outside_roots: entry('input', 'never', 'choose a path inside the allowed roots, or let the operator extend them'),
  path_not_found: entry('input', 'never', 'check the path and that the worker can see it'),
  path_not_readable: entry('operator', 'never', 'give the worker the right to read the path'),
  target_not_empty: entry('input', 'never', 'choose an empty folder, or allow overwriting'),
  target_not_writable: entry('operator', 'never', 'give the worker the right to write to the path'),

  // PostgreSQL servers that are backed up or recovered to
  postgresql_host_not_allowed: entry('input', 'never', 'name an allowed server, or let the operator add it to HOLDFAST_DATABASE_HOSTS'),
  postgresql_unreachable: entry('environment', 'later', 'check the server, its address and the network'),
  postgresql_login_failed: entry('operator', 'never', 'check user, password and database, and what pg_hba.conf says of them'),
  postgresql_tls_failed: entry('operator', 'never', 'check the certificate, its name and the ca that is given, or the mode of tls'),
  postgresql_access_rule_missing: entry('operator', 'never', 'add the line that the message names to pg_hba.conf and reload the server'),
  postgresql_denied: entry('operator', 'never', 'give the role the right that the message names'),
  postgresql_setting_missing: entry('operator', 'never', 'change the setting that the message names at the server and restart it'),
  postgresql_limit_reached: entry('operator', 'later', 'raise the limit that the message names at the server, or free what uses it up'),
  postgresql_interrupted: entry('environment', 'later', 'nothing to do when the server was restarted; else see its log'),
  postgresql_disk_full: entry('operator', 'later', 'free space at the database server'),
  postgresql_stream_damaged: entry('environment', 'later', 'what arrived was not what was sent; check the network and what lies between'),
  postgresql_wal_lost: entry(
    'environment',
    'never',
    'start a new chain with a full backup; times from here to its end cannot be recovered',
  ),
  postgresql_busy: entry('environment', 'later', 'see who holds the lock that the message names, or allow a longer time'),
  postgresql_changed: entry('environment', 'later', 'tables came or went while they were being locked; it is tried again'),
  postgresql_not_found: entry('input', 'never', 'check the names of databases, schemas and tables'),
  postgresql_version_unsupported: entry('operator', 'never', 'use a server of PostgreSQL 14 to 18'),
  postgresql_tool_missing: entry('operator', 'never', 'install the client tools that the message names at the worker'),
  postgresql_failed: entry('operator', 'never', 'see what the server said, and mend its cause'),
  postgresql_target_uncovered: entry('input', 'never', 'choose a target inside the windows that the message names'),
  postgresql_wal_missing: entry('damage', 'never', 'choose an earlier target, or a later base backup; see the recovery windows'),
  postgresql_chain_broken: entry('damage', 'never', 'recover from another base backup, and take a new full one'),
  postgresql_recovery_failed: entry('operator', 'never', 'see what the server said, and mend its cause'),

  // MariaDB and MySQL servers that are backed up or recovered to
  mysql_host_not_allowed: entry('input', 'never', 'name an allowed server, or let the operator add it to HOLDFAST_DATABASE_HOSTS'),
  mysql_unreachable: entry('environment', 'later', 'check the server, its address and the network'),
  mysql_login_failed: entry('operator', 'never', 'check user and password, and from which hosts the account may come'),
  mysql_tls_failed: entry('operator', 'never', 'check the certificate, its name and the ca that is given, or the mode of tls'),
  mysql_denied: entry('operator', 'never', 'give the account the right that the message names'),
  mysql_interrupted: entry('environment', 'later', 'nothing to do when the server was restarted; else see its log'),
  mysql_busy: entry('environment', 'later', 'see who holds the lock that the message names; it is tried again'),
  mysql_changed: entry('environment', 'later', 'tables were made, altered or dropped while they were read; it is tried again'),
  mysql_not_found: entry('input', 'never', 'check the names of databases and tables'),
  mysql_tool_missing: entry('operator', 'never', 'install the client programs that the message names at the worker'),
  mysql_failed: entry('operator', 'never', 'see what the server said, and mend its cause'),

  // Redis servers that are backed up or recovered to
  redis_host_not_allowed: entry('input', 'never', 'name an allowed server, or let the operator add it to HOLDFAST_DATABASE_HOSTS'),
  redis_unreachable: entry('environment', 'later', 'check the server, its address and the network'),
  redis_login_failed: entry('operator', 'never', 'check user and password; leave them out where the server has none'),
  redis_tls_failed: entry('operator', 'never', 'check the certificate, its name and the ca that is given, or the mode of tls'),
  redis_denied: entry('operator', 'never', 'give the user the commands that the message names, such as +psync +replconf +info +ping'),
  redis_interrupted: entry('environment', 'later', 'nothing to do when the server was restarted; else see its log'),
  redis_busy: entry('environment', 'later', 'see the log of the server: it loads, has no memory to fork, or no space for its dump'),
  redis_stream_damaged: entry('environment', 'later', 'what arrived was not what was sent; check the network and what lies between'),
  redis_failed: entry('operator', 'never', 'see what the server said, and mend its cause'),

  // SQLite databases of a worker's machine
  sqlite_busy: entry(
    'environment',
    'later',
    'others write without a pause: let the application use WAL, freeze it with hooks, or set blocksWriters',
  ),
  sqlite_disk_full: entry(
    'operator',
    'later',
    'free space where the copy is made: HOLDFAST_SCRATCH_DIR for a backup, the target for a recovery',
  ),
  sqlite_damaged: entry('operator', 'never', 'check the path; if it is a database, recover it from an earlier backup'),
  sqlite_unfinished: entry('operator', 'later', 'start the application once: a process died in a transaction, which it has to roll back'),
  sqlite_denied: entry('operator', 'never', 'give the worker the right that the message names'),
  sqlite_failed: entry('operator', 'never', 'see what SQLite said, and mend its cause'),

  // hooks around a backup
  hook_host_not_allowed: entry('input', 'never', 'name an allowed host, or let the operator add it to HOLDFAST_HOOK_HOSTS'),
  hook_not_found: entry(
    'operator',
    'never',
    'put an executable of that name into HOLDFAST_HOOKS_DIR of the worker, which only its owner may change',
  ),
  hook_failed: entry('operator', 'later', 'see what the hook said; the application was thawed'),
  frozen_too_long: entry('operator', 'later', 'allow more seconds in hooks.maxFrozenSeconds, or thaw after_moment'),

  // storage
  storage_test_unanswered: entry('environment', 'later', 'see whether a worker runs and takes work, then try again'),
  storage_host_not_allowed: entry('input', 'never', 'name an allowed server, or let the operator add it to HOLDFAST_STORAGE_HOSTS'),
  storage_object_missing: entry('damage', 'never', 'run an integrity verification to learn what is hit'),
  storage_object_too_short: entry('damage', 'never', 'run an integrity verification to learn what is hit'),
  storage_object_exists: entry('defect', 'never', 'objects are written once; report this with the log'),
  storage_full: entry('operator', 'later', 'free space at the storage, or clean up old backups'),
  storage_denied: entry('operator', 'never', 'check the credentials and rights at the storage'),
  storage_unreachable: entry('environment', 'later', 'check the network and the storage service'),
  storage_object_held: entry('operator', 'never', 'clean up again when its lock or time of retention has ended'),
  storage_append_only: entry(
    'operator',
    'never',
    'turn appendOnly off in the storage options for the time of a cleanup, with rights to delete',
  ),

  // repository
  repository_missing: entry('operator', 'never', 'check the storage location; nothing was found there'),
  repository_exists: entry('operator', 'never', 'the location holds a repository already; open it instead'),
  repository_password_wrong: entry('operator', 'never', 'give the password that the repository was made with'),
  repository_locked: entry('environment', 'later', 'another process works on the repository; it is tried again'),
  repository_damaged: entry('damage', 'never', 'run a verification; copy what is still whole to a new repository'),
  repository_unsupported: entry('operator', 'never', 'migrate the repository to format version 2 with restic'),
  repository_key_needed: entry('input', 'never', 'open the repository with another key, or add one, before this one goes'),
  snapshot_missing: entry('input', 'never', 'choose another backup; this snapshot is gone'),
  verification_found_damage: entry('damage', 'never', 'see the findings; back up again and keep older snapshots until that is verified'),

  // runs
  run_superseded: entry('environment', 'never', 'nothing to do: a newer attempt has taken over'),
  run_cancelled: entry('input', 'never', 'nothing to do: it was cancelled on request'),
  run_interrupted: entry('environment', 'later', 'nothing to do: the worker stopped; another attempt follows'),
  attempts_exhausted: entry('environment', 'never', 'see the last error, mend its cause and create a new job'),

  // looking into backups
  worker_unreachable: entry('environment', 'later', 'see that a worker runs which the API can reach at its HOLDFAST_WORKER_BROWSE_URL'),
  worker_busy: entry('environment', 'later', 'wait for the seconds in the retry-after header, or run more workers'),
  range_not_satisfiable: entry('input', 'never', 'ask for bytes inside the file; content-range tells its size'),

  // surroundings
  database_unreachable: entry('environment', 'later', 'check PostgreSQL and DATABASE_URL'),
  database_schema_mismatch: entry('operator', 'never', 'run `holdfast migrate` with the version that you start'),
  queue_unreachable: entry('environment', 'later', 'check Redis and REDIS_URL; accepted jobs are kept and follow'),
  secret_unreadable: entry('operator', 'never', 'start with the HOLDFAST_MASTER_KEY that sealed it'),
  configuration_invalid: entry('operator', 'never', 'correct the named setting; see .env.example'),
  disk_full: entry('operator', 'later', 'free space on the worker'),
  internal: entry('defect', 'later', 'report this with the log'),
} as const satisfies Record<string, ErrorEntry>;

export type ErrorCode = keyof typeof errorCodes;
