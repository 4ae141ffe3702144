/** README.txt of a backup. A test follows its commands word for word. */
export function mysqlReadme({ place, product, version }: { place: string; product: string; version: string }): string {
  const client = product === 'MariaDB' ? 'mariadb' : 'mysql';
  return `The databases of the ${product} ${version} server ${place}, made by Holdfast.

What is here
  databases/NAME/database.sql                CREATE DATABASE, as it was
  databases/NAME/tables/NUMBER.TABLE.sql     one table or sequence with its rows; the numbers are the order in which they are loaded
  databases/NAME/programs.sql                triggers, events, procedures, functions
  databases/NAME/views.sql                   views, if there are any
  users.sql                                  accounts and their rights, if the backup was told to have them
  manifest.json                              the same for programs
A %, slash or dot within a name is written as %25, %2F or %2E. All tables of InnoDB, in all databases, show one moment.

How it is restored by hand, with the client of this version or a newer one (it finds the server by its own options, such as ~/.my.cnf)
1. Get these files out of the repository:
     restic -r REPOSITORY restore SNAPSHOT --target /some/folder
   and go to the folder in which this README.txt lies.
2. The database. Tables that are there under the same names are dropped and made anew:
     ${client} --binary-mode < databases/NAME/database.sql
     cat databases/NAME/tables/*.sql | ${client} --binary-mode NAME
     ${client} --binary-mode NAME < databases/NAME/programs.sql
     if [ -e databases/NAME/views.sql ]; then ${client} --binary-mode NAME < databases/NAME/views.sql; fi
--binary-mode keeps the client from obeying commands of its own that a text could hold.
One table, into a database that is there and has none of that name:
     cat databases/NAME/tables/*.TABLE.sql | ${client} --binary-mode NAME
`;
}
