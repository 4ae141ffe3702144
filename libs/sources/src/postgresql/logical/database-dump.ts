import { HoldfastError } from '@holdfast/errors/holdfast-error';
import type { ConnectionOptions } from '../connection-options.ts';
import { BegunContent } from './begun-content.ts';
import { readSequences, type DatabaseFacts, type SequenceValue, type TableChoice, type TableFacts } from './catalog.ts';
import type { ClientTools } from './client-tools.ts';
import { copyHeader, copyOutStatement, copyTrailer } from './copy-statement.ts';
import { openDatabaseSnapshot, type DatabaseSnapshot } from './database-snapshot.ts';
import { dumpArguments } from './dump-arguments.ts';
import { encodeName, tableFileName } from './file-names.ts';
import { countLargeObjects, largeObjectContent } from './large-objects.ts';
import type { DatabaseManifest, TableManifest } from './manifest.ts';
import { displayName, quoteIdentifier, quoteLiteral, quoteName } from './quote.ts';
import { transferEncoding, type SessionSettings } from './session-settings.ts';
import { textContent, type FileContent } from './stream-file.ts';
import { runTool } from './tool-process.ts';

export interface DatabaseDumpOptions {
  /** To this very database. */
  readonly connection: ConnectionOptions;
  readonly facts: DatabaseFacts;
  readonly choice: TableChoice;
  readonly tools: ClientTools;
  readonly settings: SessionSettings;
  readonly connectionCount: number;
  readonly signal: AbortSignal;
}

/** A file that is made when it is read. */
export interface DumpFile {
  /** Below the database's folder: `pre-data.sql`, `data/public.orders.sql`. */
  readonly path: string;
  readonly estimatedBytes: number;
  readonly hasRows: boolean;
  /** `recordKey`: see OpenFileOptions. */
  readonly open: (recordKey: bigint) => FileContent;
}

/** The files of one database, all of one moment. Its connections are open until it is disposed of. */
export class DatabaseDump implements AsyncDisposable {
  /** By path. */
  readonly files: ReadonlyMap<string, DumpFile>;
  readonly takenAt: string;
  readonly #options: DatabaseDumpOptions;
  readonly #snapshot: DatabaseSnapshot;
  readonly #encoding: 'UTF8' | 'SQL_ASCII';
  readonly #copied = new Map<string, TableManifest>();
  readonly #sections: readonly BegunContent[];
  #sequences: readonly SequenceValue[] = [];
  #largeObjectCount = 0;

  private constructor(options: DatabaseDumpOptions, snapshot: DatabaseSnapshot) {
    this.#options = options;
    this.#snapshot = snapshot;
    this.#encoding = transferEncoding(options.facts.encoding);
    this.takenAt = snapshot.takenAt;
    const [before, after] = [this.#beginSection('pre-data'), this.#beginSection('post-data')];
    this.#sections = [before, after];
    const files = [
      smallFile('database.sql', () => textContent(createStatement(options.facts))),
      smallFile('pre-data.sql', () => before.content()),
      smallFile('post-data.sql', () => after.content()),
      smallFile('sequences.sql', () => this.#sequenceValues()),
      { ...smallFile('large-objects.sql', (key) => this.#largeObjects(key)), hasRows: true },
      ...snapshot.list.tables.map((table) => ({
        path: `data/${tableFileName(table)}`,
        estimatedBytes: table.estimatedBytes,
        hasRows: true,
        open: (key: bigint) => this.#table(table, key),
      })),
    ];
    this.files = new Map(files.map((file) => [file.path, file]));
  }

  /** Codes: those of openDatabaseSnapshot. */
  static async open(options: DatabaseDumpOptions): Promise<DatabaseDump> {
    return new DatabaseDump(options, await openDatabaseSnapshot(options));
  }

  /** What was read; tables that were not read to their end are missing. */
  manifest(): DatabaseManifest {
    const { name, encoding, createOptions } = this.#options.facts;
    return {
      name,
      folder: encodeName(name),
      encoding,
      createOptions,
      transferEncoding: this.#encoding,
      snapshot: { lsn: this.#snapshot.lsn, takenAt: this.#snapshot.takenAt },
      tables: this.#snapshot.list.tables.flatMap(({ oid }) => this.#copied.get(oid) ?? []),
      sequences: [...this.#sequences],
      largeObjectCount: this.#largeObjectCount,
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#sections.map((section) => section[Symbol.asyncDispose]()));
    await this.#snapshot[Symbol.asyncDispose]();
  }

  async *#table(table: TableFacts, key: bigint): FileContent {
    const { pool } = this.#snapshot;
    const header = copyHeader(table, this.#encoding);
    const { schema, name, columns, condition, ancestors } = table;
    yield header;
    const session = await pool.acquire();
    let rows: number;
    try {
      rows = yield* session.copyOut(copyOutStatement(table, condition), { action: `copying ${displayName(table)}`, key });
    } finally {
      pool.release(session);
    }
    yield copyTrailer;
    const file = tableFileName(table);
    const isPartial = condition !== null;
    const lists = { columns: [...columns], ancestors: [...ancestors] };
    this.#copied.set(table.oid, { schema, name, file, ...lists, headerBytes: header.length, rows, isPartial });
  }

  /** While connections are made, and beside the rows. */
  #beginSection(section: 'pre-data' | 'post-data'): BegunContent {
    const { tools, connection, signal, choice, settings } = this.#options;
    const excluded = (choice.excludeTables ?? []).map((name) => splitName(name));
    const args = dumpArguments(tools, {
      section,
      snapshot: this.#snapshot.id,
      encoding: this.#encoding,
      lockTimeoutMs: settings.lockTimeoutMs,
      schemas: choice.schemas,
      excludeTables: excluded,
    });
    return new BegunContent((ends) => runTool({ tools, program: 'pg_dump', args, connection, signal: ends }), signal);
  }

  async *#sequenceValues(): FileContent {
    const { pool } = this.#snapshot;
    const session = await pool.acquire();
    try {
      this.#sequences = await readSequences(session, this.#options.choice.schemas);
      yield Buffer.from(`SET client_encoding = '${this.#encoding}';\nSET search_path = '';\n`);
      for (const { lastValue, isCalled, ...name } of this.#sequences) {
        yield Buffer.from(`SELECT pg_catalog.setval(${quoteLiteral(quoteName(name))}, ${lastValue}, ${isCalled});\n`);
      }
    } finally {
      pool.release(session);
    }
  }

  /** They belong to no schema: as pg_dump does, they are left out when schemas are chosen. */
  async *#largeObjects(key: bigint): FileContent {
    if (this.#options.choice.schemas !== undefined) return;
    const { pool } = this.#snapshot;
    const session = await pool.acquire();
    try {
      this.#largeObjectCount = await countLargeObjects(session);
      yield* largeObjectContent(session, this.#options.facts.encoding, key);
    } finally {
      pool.release(session);
    }
  }
}

function smallFile(path: string, open: DumpFile['open']): DumpFile {
  return { path, estimatedBytes: 0, hasRows: false, open };
}

function createStatement({ name, createOptions }: DatabaseFacts): string {
  return `CREATE DATABASE ${quoteIdentifier(name)} ${createOptions};\n`;
}

/** `schema.table`; the border is the first dot. */
function splitName(text: string): { schema: string; name: string } {
  const dot = text.indexOf('.');
  if (dot <= 0 || dot === text.length - 1) throw new HoldfastError('request_invalid', `${JSON.stringify(text)} is no schema.table`);
  return { schema: text.slice(0, dot), name: text.slice(dot + 1) };
}
