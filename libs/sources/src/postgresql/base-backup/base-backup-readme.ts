export interface BaseBackupPlace {
  /** The server. */
  readonly place: string;
  readonly majorVersion: number;
  readonly isIncremental: boolean;
}

/** /README.txt of a base backup: how it is restored with nothing but restic and the server's own programs. A test follows it word for word. */
export function baseBackupReadme({ place, majorVersion, isIncremental }: BaseBackupPlace): string {
  const kind = isIncremental ? 'An incremental' : 'A full';
  return `${kind} physical backup of the PostgreSQL ${majorVersion} server ${place}, made by Holdfast.

What is here
  data/                      the data folder, as BASE_BACKUP sent it, with the WAL that makes it consistent in data/pg_wal
  data/pg_tblspc/OID/        the files of a tablespace; where it lay is in data/tablespace_map
  data/backup_manifest       sizes and checksums of all files, for pg_verifybackup${isIncremental ? ' and pg_combinebackup' : ''}
  backup.json                what this backup is, for programs

How it is restored by hand, with the programs of PostgreSQL ${majorVersion}
1. Get these files out of the repository and give them to the account that runs the server:
     restic -r REPOSITORY restore SNAPSHOT --target /some/folder && cd /some/folder
${isIncremental ? combining : ''}2. Look whether everything came, if you like; this has to be done before the server starts:
     pg_verifybackup data
3. A tablespace goes to a folder of its own, whose path then stands in data/tablespace_map. For each line "OID PATH" of that file:
     mv data/pg_tblspc/OID /new/path
     sed -i 's|^OID .*|OID /new/path|' data/tablespace_map
4. Where a distribution keeps postgresql.conf, pg_hba.conf and pg_ident.conf elsewhere, data/ has none of them: put yours there.
5. Hand the files over and start the server, which recovers by itself to the end of the backup:
     chmod 700 data && chown -R postgres: data
     pg_ctl -D data -l data/server.log start
To go on to a later time, the WAL from there on is needed as well: do not start the server yet, and go on with the README.txt of a snapshot
of WAL.
`;
}

const combining = `   An incremental backup holds only the blocks that changed. Restore it and every backup that it builds on, each to a folder of its own
   (backup.json names the job of the one before, and restic snapshots shows the job of each), and combine them, the full one first:
     pg_combinebackup FULL/data NEXT/data LAST/data -o data
`;
