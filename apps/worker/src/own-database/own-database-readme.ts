/** For whoever finds the files with nothing but restic. */
export const ownDatabaseReadme = `The database of a Holdfast service, with its master key
=========================================================

Whoever reads these files can open every secret of the service: passwords of repositories, servers and
accounts. Keep them where nobody else reads, and remove what you have restored when you are done.

  manifest.json     when it was taken, the migrations that say what the tables look like, the columns and
                    the number of rows of each table, and the settings of the worker that are no secrets
  master-key        HOLDFAST_MASTER_KEY
  tables/*.jsonl    the rows of one moment, each a line of JSON, as PostgreSQL's row_to_json writes them

With Holdfast:   holdfast rescue --repository <this repository> --password-file <file> --state-dir <folder>

Without it: make the tables with the SQL files of the migrations that the manifest names, in their order.
Put the rows back table by table, those first that others refer to, each line as
  INSERT INTO <table> SELECT * FROM json_populate_record(NULL::<table>, '<line>');
Secrets in columns named sealed... or encryptionKey open only under the master key: AES-256-GCM, described
in libs/database/src/sealed-secret.ts of Holdfast's sources.
`;
