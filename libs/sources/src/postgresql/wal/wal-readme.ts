export interface WalReadmeOptions {
  /** The server. */
  readonly place: string;
  readonly majorVersion: number;
  /** Whose runs store WAL, and whose it builds on. */
  readonly configId: string;
  readonly baseConfigId: string;
}

/** /README.txt of a run's WAL: how it is used with nothing but restic and the server's own programs. A test follows it word for word. */
export function walReadme({ place, majorVersion, configId, baseConfigId }: WalReadmeOptions): string {
  return `Write-ahead log (WAL) of the PostgreSQL ${majorVersion} server ${place}, made by Holdfast. It follows on the base backup and the WAL before it.

What is here
  wal/                       files of the server's pg_wal: segments, and the history of a timeline that began
  backup.json                from where to where the WAL goes, for programs

A segment at the end of the log is filled with zeros behind what the server had written; the next run has all of it, under the same name.

How a server is recovered by hand to the end of this WAL, with the programs of PostgreSQL ${majorVersion}
1. Restore a base backup by its README.txt, up to the step that starts the server. Snapshots of base backups have the tag
   config:${baseConfigId}, those of WAL the tag config:${configId}; restic snapshots shows their times.
2. Get the WAL out of all snapshots of it from that base backup to this one into the same folder, the oldest first: what a later one has
   replaces what an earlier one had.
     restic -r REPOSITORY restore SNAPSHOT --target /some/folder --include /wal
3. Say where it is. A server that finds this file recovers as far as the WAL goes, and then opens:
     echo "restore_command = 'cp /some/folder/wal/%f %p'" >> data/postgresql.auto.conf
     rm -f data/standby.signal && touch data/recovery.signal
   To stop earlier, add a line such as recovery_target_time = '2026-05-01 03:00:00+02' and one that says recovery_target_action = 'promote'.
4. Hand the files over and start the server. WAL that it cannot read counts as not there:
     chmod 700 data && chown -R postgres: data wal
     pg_ctl -D data -l data/server.log start
   The folder wal/ may go once SELECT pg_is_in_recovery() says no.
`;
}
