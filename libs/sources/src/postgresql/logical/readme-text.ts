import type { ServerFacts } from './logical-source.ts';

/** /README.txt of a logical backup: how it is restored with nothing but restic and psql. A test follows it word for word. */
export function readmeText({ place, version }: ServerFacts): string {
  return `A logical backup of the PostgreSQL ${version} server ${place}, made by Holdfast.

What is here
  globals.sql                                roles and tablespaces of the server
  databases/NAME/database.sql                CREATE DATABASE, as it was
  databases/NAME/pre-data.sql                schemas, types, functions, tables
  databases/NAME/data/SCHEMA.TABLE.sql       the rows of one table: COPY ... FROM stdin
  databases/NAME/sequences.sql               the values of the sequences
  databases/NAME/large-objects.sql           large objects
  databases/NAME/post-data.sql               indexes, constraints, triggers, materialized views
  manifest.json                              the same for programs, with the number of rows of each table
A %, slash or dot within a name is written as %25, %2F or %2E. All files of a database show one moment.

How it is restored by hand, with psql of this version or a newer one
1. Get these files out of the repository:
     restic -r REPOSITORY restore SNAPSHOT --target /some/folder && cd /some/folder
2. Roles and tablespaces. Roles that are there already get the password and the rights of the backup; so that you are not shut out, the
   lines of ME, the role that you sign in with, are left out. That a role exists already is reported as an error, which does no harm:
     grep -vE '^(CREATE|ALTER) ROLE ME[ ;]' globals.sql | psql -X -d postgres
3. The database, new and empty:
     psql -X -d postgres -v ON_ERROR_STOP=1 -f databases/NAME/database.sql
4. What is in it. The order matters:
     cd databases/NAME
     cat pre-data.sql data/*.sql large-objects.sql sequences.sql post-data.sql | psql -X -q -o /dev/null -v ON_ERROR_STOP=1 -d NAME
One table of a database that is there: psql -X -d NAME -f databases/NAME/data/SCHEMA.TABLE.sql
`;
}
