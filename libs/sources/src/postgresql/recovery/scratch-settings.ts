/**
 * How a server runs over restored data: reached by nobody but who may enter its socket's folder, reaching nobody, and doing nothing of
 * itself. Given as arguments, which win over the configuration files and postgresql.auto.conf of the cluster.
 */
export interface ScratchPlace {
  readonly majorVersion: number;
  /** Of the socket; only its owner and root may enter it. */
  readonly socketDir: string;
  readonly configFile: string;
  readonly accessFile: string;
  readonly identFile: string;
  /** Libraries that WAL or the catalog cannot do without; empty for none. */
  readonly preloadLibraries: string;
  /** False when the data folder is thrown away afterwards: then nothing is waited for. */
  readonly isDurable: boolean;
}

/** The socket's name ends in it; nothing listens on it. */
export const scratchPort = 5432;

/** Whoever may enter the socket's folder may enter the server. */
export const accessRules = 'local all all trust\n';

export function scratchSettings(place: ScratchPlace): Record<string, string> {
  return { ...alone(place), ...small, ...quiet, ...said, ...sinceVersion(place.majorVersion), ...durability(place.isDurable) };
}

function alone({ socketDir, configFile, accessFile, identFile, preloadLibraries }: ScratchPlace): Record<string, string> {
  return {
    config_file: configFile,
    hba_file: accessFile,
    ident_file: identFile,
    external_pid_file: '',
    listen_addresses: '',
    port: String(scratchPort),
    unix_socket_directories: socketDir,
    unix_socket_permissions: '0700',
    ssl: 'off',
    shared_preload_libraries: preloadLibraries,
    session_preload_libraries: '',
    local_preload_libraries: '',
    dynamic_library_path: '$libdir',
    // These are commands, or reach other servers.
    archive_mode: 'off',
    archive_command: '',
    archive_cleanup_command: '',
    recovery_end_command: '',
    primary_conninfo: '',
    primary_slot_name: '',
    synchronous_standby_names: '',
    max_wal_senders: '0',
    max_logical_replication_workers: '0',
  };
}

/** With hot_standby off nothing must be as large as it was at the server that wrote the WAL, but for what is part of the data. */
const small = {
  hot_standby: 'off',
  wal_level: 'replica',
  max_connections: '20',
  superuser_reserved_connections: '3',
  max_worker_processes: '4',
  max_parallel_workers: '2',
  max_parallel_workers_per_gather: '0',
  max_prepared_transactions: '1000',
  max_locks_per_transaction: '256',
  shared_buffers: '128MB',
  huge_pages: 'off',
  work_mem: '8MB',
  maintenance_work_mem: '64MB',
  // Few restart points: a recovery that is broken off begins anew anyway.
  max_wal_size: '4GB',
};

const quiet = {
  autovacuum: 'off',
  jit: 'off',
  restart_after_crash: 'off',
  statement_timeout: '0',
  default_transaction_read_only: 'off',
  temp_tablespaces: '',
};

/** server-log.ts reads it. */
const said = {
  logging_collector: 'off',
  log_destination: 'stderr',
  log_line_prefix: '%m [%p] ',
  log_timezone: 'UTC',
  lc_messages: 'C',
  log_min_messages: 'warning',
  log_min_error_statement: 'panic',
  log_statement: 'none',
  log_min_duration_statement: '-1',
  log_connections: 'off',
};

const firstWithWalSummaries = 17;
const firstWithArchiveLibrary = 15;

function sinceVersion(majorVersion: number): Record<string, string> {
  return {
    ...(majorVersion >= firstWithArchiveLibrary ? { archive_library: '' } : {}),
    // A trigger on logins would run for ours.
    ...(majorVersion >= firstWithWalSummaries ? { summarize_wal: 'off', event_triggers: 'off' } : {}),
  };
}

function durability(isDurable: boolean): Record<string, string> {
  return isDurable ? { fsync: 'on', synchronous_commit: 'local' } : { fsync: 'off', synchronous_commit: 'off' };
}
