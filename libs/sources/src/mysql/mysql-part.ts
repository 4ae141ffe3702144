import type { PartFacts, PartMoment, ServerPart } from '../application-data/part.ts';
import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { MadeUpSource, type MadeUpFile } from '../made-up-source.ts';
import { encodeName } from '../postgresql/logical/file-names.ts';
import { textContent, type FileContent } from '../postgresql/logical/stream-file.ts';
import type { Source } from '../source.ts';
import { readCatalog, readServerFacts, withoutTransactions, type DatabaseFacts, type ServerFacts } from './catalog.ts';
import { findClientPrograms, type ClientPrograms, type ProgramPlaces } from './client-programs.ts';
import { mysqlPlace, type Consistency, type MysqlConnectionOptions } from './connection-options.ts';
import { ignoredTables, programsArguments, tablesArguments, viewsArguments } from './dump-arguments.ts';
import { DumpSections, type LogPosition } from './dump-sections.ts';
import { manifestPath, tableFile, type MysqlManifest } from './manifest.ts';
import { mysqlReadme } from './mysql-readme.ts';
import { runProgram } from './run-program.ts';
import { quoteName } from './statements.ts';
import { wholeDump } from './whole-dump.ts';

export interface MysqlPartOptions {
  readonly name: string;
  readonly connection: MysqlConnectionOptions;
  /** All but the server's own, when absent. */
  readonly databases?: readonly string[] | undefined;
  /** `database.table`; views too. */
  readonly excludeTables?: readonly string[] | undefined;
  readonly consistency: Consistency;
  /** Accounts and their rights, with the hashes of their passwords: only from a MariaDB server. */
  readonly users: boolean;
  readonly programPlaces: ProgramPlaces;
  /** A folder that is private and swept, for the passwords that programs read. Default the temporary one. */
  readonly scratch?: string | undefined;
  /** Ends all waiting and all programs. */
  readonly signal: AbortSignal;
}

/**
 * A MariaDB or MySQL server as files that are made while they are read, by its own dump program; see mysql-readme.ts for which. One
 * dump makes the tables of all databases, so that they show one moment: that of its transaction, or of its lock. Codes of takeMoment:
 * mysql_unreachable, _login_failed, _tls_failed, _not_found, _tool_missing, _denied; of reading also mysql_changed (tables came, went
 * or were altered), mysql_interrupted (a dump that ends early, whatever its exit code).
 */
export function openMysqlPart(options: MysqlPartOptions): ServerPart {
  return new MysqlPart(options);
}

interface Inspected {
  readonly programs: ClientPrograms;
  readonly server: ServerFacts;
}

interface Begun extends Inspected {
  readonly databases: readonly DatabaseFacts[];
  /** Null when there is no database. */
  readonly sections: DumpSections | null;
  readonly takenAtMs: number;
}

class MysqlPart implements ServerPart {
  readonly kind = 'mysql';
  readonly name: string;
  readonly source: Source;
  readonly #options: MysqlPartOptions;
  readonly #closed = new AbortController();
  readonly #signal: AbortSignal;
  #inspected: Promise<Inspected> | undefined;
  #begun: Promise<Begun> | undefined;
  #end: { readonly position: LogPosition | null } | undefined;

  constructor(options: MysqlPartOptions) {
    this.name = options.name;
    this.#options = options;
    this.#signal = AbortSignal.any([options.signal, this.#closed.signal]);
    this.source = new MadeUpSource({
      list: async () => {
        const begun = await this.#begin();
        return { timeMs: begun.takenAtMs, files: this.#files(begun) };
      },
      paths: [manifestPath],
      holdsRecords: true,
      close: () => this.close(),
    });
  }

  async inspect(): Promise<void> {
    await this.#inspect();
  }

  async takeMoment(signal: AbortSignal): Promise<PartMoment> {
    signal.throwIfAborted();
    const end = (): void => this.#closed.abort(signal.reason);
    signal.addEventListener('abort', end, { once: true });
    try {
      const { takenAtMs, server, databases } = await this.#begin();
      const loose = this.#options.consistency === 'lock' ? [] : databases.flatMap(withoutTransactions);
      const warnings = loose.length === 0 ? [] : [`not of the moment, since their engines have no transactions: ${loose.join(', ')}`];
      return { takenAt: new Date(takenAtMs).toISOString(), warnings: [...server.warnings, ...warnings] };
    } finally {
      signal.removeEventListener('abort', end);
    }
  }

  async facts(): Promise<PartFacts> {
    if (this.#end === undefined) throw new HoldfastError('internal', 'a part that was not read to its end was asked for its facts');
    const { programs, server, databases } = await this.#begin();
    return {
      place: mysqlPlace(this.#options.connection),
      server: server.product,
      version: server.version,
      tools: `${programs.family} ${programs.version}`,
      consistency: this.#options.consistency,
      position: this.#end.position === null ? null : { ...this.#end.position },
      databases: databases.map(({ name, tables, views }) => ({ name, tables: tables.length, views: views.length })),
      withoutTransactions: databases.flatMap(withoutTransactions),
    };
  }

  async close(): Promise<void> {
    this.#closed.abort(new HoldfastError('internal', 'the part was closed'));
    await this.#begun?.then(({ sections }) => sections?.[Symbol.asyncDispose]()).catch(() => undefined);
  }

  #begin(): Promise<Begun> {
    if (this.#begun === undefined) {
      this.#begun = begin(this.#options, this.#inspect(), this.#signal);
      // Whoever asks for the moment hears of it.
      this.#begun.catch(() => undefined);
    }
    return this.#begun;
  }

  #inspect(): Promise<Inspected> {
    return (this.#inspected ??= inspect(this.#options, this.#signal));
  }

  #files(begun: Begun): MadeUpFile[] {
    const { server, databases, sections } = begun;
    const readme = mysqlReadme({ place: mysqlPlace(this.#options.connection), ...server });
    let index = 0;
    const section = (): (() => FileContent) => {
      const at = index++;
      // oxlint-disable-next-line typescript/no-non-null-assertion -- where there are databases there are sections
      return () => sections!.content(at);
    };
    const files: MadeUpFile[] = databases.flatMap((database) => {
      const folder = `/databases/${encodeName(database.name)}`;
      const views = { path: `${folder}/views.sql`, open: () => this.#dump(begun, viewsArguments(begun.programs, database)) };
      return [
        { path: `${folder}/database.sql`, open: section() },
        { path: `${folder}/programs.sql`, open: () => this.#dump(begun, programsArguments(begun.programs, database.name), true) },
        ...database.tables.map(({ name, bytes }, at) => ({
          path: `${folder}/tables/${tableFile(name, at)}`,
          estimatedBytes: bytes,
          open: section(),
        })),
        ...(database.views.length > 0 ? [views] : []),
      ];
    });
    const users = { path: '/users.sql', open: () => this.#dump(begun, ['--system=users', '--skip-dump-date']) };
    return [
      { path: '/README.txt', open: () => textContent(readme) },
      ...files,
      { path: manifestPath, open: () => textContent(this.#manifest(begun)) },
      ...(this.#options.users ? [users] : []),
    ];
  }

  #dump({ programs, databases }: Begun, args: readonly string[], withoutTables = false): FileContent {
    const { connection, excludeTables = [], scratch } = this.#options;
    const optionLines = withoutTables ? ignoredTables(databases, excludeTables) : [];
    const run = runProgram({ programs, program: 'dump', connection, args, optionLines, scratch, signal: this.#signal });
    return wholeDump(run, mysqlPlace(connection));
  }

  /** When all tables have been read. */
  async #manifest({ programs, server, databases, sections, takenAtMs }: Begun): Promise<string> {
    this.#end = sections === null ? { position: null } : await sections.end();
    const manifest: MysqlManifest = {
      format: 'holdfast-mysql',
      version: 1,
      server: { place: mysqlPlace(this.#options.connection), product: server.product, version: server.version },
      tools: { family: programs.family, version: programs.version },
      takenAt: new Date(takenAtMs).toISOString(),
      consistency: this.#options.consistency,
      position: this.#end.position,
      databases: databases.map(({ name, characterSet, collation, tables, views }) => ({
        name,
        folder: encodeName(name),
        characterSet,
        collation,
        tables: tables.map((table, at) => ({ name: table.name, kind: table.kind, engine: table.engine, file: tableFile(table.name, at) })),
        views: [...views],
      })),
    };
    return `${JSON.stringify(manifest, null, 2)}\n`;
  }
}

async function inspect({ connection, users, programPlaces, scratch }: MysqlPartOptions, signal: AbortSignal): Promise<Inspected> {
  const programs = await findClientPrograms(programPlaces);
  const server = await readServerFacts({ programs, connection, scratch, signal });
  if (users && (server.product !== 'MariaDB' || programs.family !== 'mariadb')) {
    throw new HoldfastError(
      'mysql_failed',
      `the accounts of ${mysqlPlace(connection)} cannot be backed up: only MariaDB's mariadb-dump does that`,
      {
        hint: 'set users to false',
      },
    );
  }
  return { programs, server };
}

async function begin(options: MysqlPartOptions, inspected: Promise<Inspected>, signal: AbortSignal): Promise<Begun> {
  const { connection, excludeTables = [], consistency, scratch } = options;
  const { programs, server } = await inspected;
  const place = { programs, connection, scratch, signal };
  const databases = await readCatalog(place, { databases: options.databases, excluded: excludeTables });
  if (databases.length === 0) return { programs, server, databases, sections: null, takenAtMs: Date.now() };
  const marks = databases.flatMap(({ name, tables }) => [
    `-- Current Database: ${quoteName(name)}`,
    ...tables.map(
      (table) => `-- ${table.kind === 'sequence' ? 'Sequence structure for' : 'Table structure for table'} ${quoteName(table.name)}`,
    ),
  ]);
  const args = tablesArguments(programs, { server, databases, consistency });
  const takenAtMs = Date.now();
  const run = runProgram({ ...place, program: 'dump', args, optionLines: ignoredTables(databases, excludeTables) });
  const sections = new DumpSections(run, marks, mysqlPlace(connection));
  try {
    await sections.begun;
  } catch (error) {
    await sections[Symbol.asyncDispose]();
    throw error;
  }
  return { programs, server, databases, sections, takenAtMs };
}
