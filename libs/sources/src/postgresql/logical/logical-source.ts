import { HoldfastError } from '@holdfast/errors/holdfast-error';
import type { OpenFileOptions, SkippedEntry, Source, SourceEntry, SourceFile, SourceNode } from '../../source.ts';
import { connectionPlace, type ConnectionOptions } from '../connection-options.ts';
import { BegunContent } from './begun-content.ts';
import { listDatabases, serverVersion, type DatabaseFacts } from './catalog.ts';
import { findClientTools, type ClientTools, type ToolPlaces } from './client-tools.ts';
import { DatabaseDump } from './database-dump.ts';
import { globalsArguments } from './dump-arguments.ts';
import { compareNames, encodeName } from './file-names.ts';
import { manifestPath, type DatabaseManifest, type Manifest } from './manifest.ts';
import { readmeText } from './readme-text.ts';
import { openSession, type Session } from './session.ts';
import type { SessionSettings } from './session-settings.ts';
import { StreamFile, textContent, type FileContent } from './stream-file.ts';
import { runTool } from './tool-process.ts';

export interface LogicalSourceOptions {
  readonly connection: ConnectionOptions;
  /** All that can be connected to, when absent. */
  readonly databases?: readonly string[] | undefined;
  readonly schemas?: readonly string[] | undefined;
  /** `schema.table`. */
  readonly excludeTables?: readonly string[] | undefined;
  /** That copy at once, per database. */
  readonly connectionCount: number;
  readonly settings: SessionSettings;
  readonly toolPlaces: ToolPlaces;
  /** Ends all waiting and all connections. */
  readonly signal: AbortSignal;
}

/** A server as files, of moments that can be taken before anything is read. */
export interface ServerSource extends Source {
  readonly server: ServerFacts;
  readonly databaseCount: number;
  /**
   * Takes the moment of every database at once, which their files then are of. Each holds one connection, and up to connectionCount more, until
   * its files are read. Codes: those of openDatabaseSnapshot.
   */
  takeMoments(): Promise<readonly DatabaseMoment[]>;
}

export interface DatabaseMoment {
  readonly database: string;
  /** By the server's clock, ISO 8601. */
  readonly takenAt: string;
  readonly sizeBytes: number;
}

export interface ServerFacts {
  readonly place: string;
  readonly version: string;
  readonly major: number;
}

/**
 * A PostgreSQL server as files that are made while they are read; see readme-text.ts for which. Each database has its own moment, at
 * which its folder was listed. A file is read once and in order. Codes: those of openSession, postgresql_version_unsupported,
 * postgresql_tool_missing, postgresql_not_found (a database that is not there); later postgresql_denied, _busy, _changed, _failed.
 */
export async function openLogicalSource(options: LogicalSourceOptions): Promise<ServerSource> {
  const { connection, signal, toolPlaces } = options;
  await using session = await openSession(connection, signal);
  const { major, text } = await serverVersion(session);
  const tools = await findClientTools(major, toolPlaces);
  const databases = chosenDatabases(session, await listDatabases(session), options.databases);
  const passwordsReadable = await mayReadPasswords(session);
  const server = { place: connectionPlace(connection), version: text, major };
  return new LogicalSource(options, { server, tools, databases, passwordsReadable });
}

function chosenDatabases(session: Session, all: readonly DatabaseFacts[], names: readonly string[] | undefined): readonly DatabaseFacts[] {
  const chosen = names === undefined ? all : all.filter(({ name }) => names.includes(name));
  const missing = (names ?? []).filter((name) => !chosen.some((database) => database.name === name));
  if (missing.length === 0) return chosen;
  throw new HoldfastError('postgresql_not_found', `${session.place} has no database ${missing.join(', ')}`);
}

async function mayReadPasswords(session: Session): Promise<boolean> {
  const [row] = await session.query("SELECT has_table_privilege('pg_catalog.pg_authid', 'SELECT')");
  return row?.[0] === 't';
}

interface LogicalSourceParts {
  readonly server: ServerFacts;
  readonly tools: ClientTools;
  readonly databases: readonly DatabaseFacts[];
  readonly passwordsReadable: boolean;
}

/**
 * The engine takes a file below this size for one that fits a buffer and begins it again when it does not; ours cannot be begun again,
 * and their sizes are guesses.
 */
const minClaimedBytes = 1024 * 1024;

/** A dump whose connections are open, and how many of its files are still to be read. */
interface OpenDump {
  readonly dump: DatabaseDump;
  filesLeft: number;
}

class LogicalSource implements ServerSource {
  readonly paths = ['/databases', '/globals.sql'];
  readonly concurrentFiles: number;
  readonly holdsRecords = true;
  readonly #options: LogicalSourceOptions;
  readonly #parts: LogicalSourceParts;
  readonly #startedNs = BigInt(Date.now()) * 1_000_000n;
  readonly #dumps = new Map<string, Promise<OpenDump>>();
  #globals: BegunContent | undefined;
  readonly #manifests = new Map<string, DatabaseManifest>();
  readonly #settled = Promise.withResolvers<void>();
  readonly #closing: Promise<void>[] = [];

  constructor(options: LogicalSourceOptions, parts: LogicalSourceParts) {
    this.#options = options;
    this.#parts = parts;
    this.concurrentFiles = options.connectionCount;
    this.#settled.promise.catch(() => undefined);
    options.signal.addEventListener('abort', () => this.#settled.reject(options.signal.reason), { once: true });
    if (parts.databases.length === 0) this.#settled.resolve();
  }

  get server(): ServerFacts {
    return this.#parts.server;
  }

  get databaseCount(): number {
    return this.#parts.databases.length;
  }

  async takeMoments(): Promise<DatabaseMoment[]> {
    this.#globals ??= this.#beginGlobals();
    return await Promise.all(
      this.#parts.databases.map(async (facts) => {
        const { dump } = await this.#dumpOf(facts);
        return { database: facts.name, takenAt: dump.takenAt, sizeBytes: facts.sizeBytes };
      }),
    );
  }

  /** The moment of the first database; those of others are taken when they are listed. */
  prepare(signal: AbortSignal): void {
    if (signal.aborted) return;
    this.#globals ??= this.#beginGlobals();
    const [first] = this.#parts.databases;
    // Who lists it hears of it.
    if (first !== undefined) this.#dumpOf(first).catch(() => undefined);
    signal.addEventListener('abort', () => this.#giveUp(), { once: true });
  }

  async readDirectory(path: string): Promise<SourceEntry[]> {
    const [, top, database, data, ...rest] = path === '/' ? ['', ''] : path.split('/');
    if (top === '') return this.#top();
    if (top !== 'databases' || rest.length > 0 || (data !== undefined && data !== 'data')) throw notFound(path);
    const { databases } = this.#parts;
    if (database === undefined) return databases.map(({ name }) => this.#folder(encodeName(name))).toSorted(byName);
    const facts = databases.find(({ name }) => encodeName(name) === database);
    if (facts === undefined) throw notFound(path);
    const { dump } = await this.#dumpOf(facts);
    const takenNs = BigInt(Date.parse(dump.takenAt)) * 1_000_000n;
    const prefix = data === undefined ? '' : 'data/';
    const files = [...dump.files.values()].flatMap((file) => {
      const name = file.path.startsWith(prefix) ? file.path.slice(prefix.length) : '/';
      return name.includes('/') ? [] : [this.#file(name, file.estimatedBytes, takenNs)];
    });
    return (data === undefined ? [...files, this.#folder('data', takenNs)] : files).toSorted(byName);
  }

  async openFile(path: string, { recordKey = 0n }: OpenFileOptions = {}): Promise<SourceFile> {
    if (path === '/README.txt') return plainFile(textContent(readmeText(this.#parts.server)));
    if (path === manifestPath) return plainFile(textContent(this.#manifest()));
    if (path === '/globals.sql') return plainFile((this.#globals ??= this.#beginGlobals()).content());
    const [, top, folder = '', ...names] = path.split('/');
    const open = await this.#dumps.get(folder);
    const file = open?.dump.files.get(names.join('/'));
    if (top !== 'databases' || open === undefined || file === undefined) throw notFound(path);
    return new StreamFile(file.open(recordKey), { hasRows: file.hasRows, onClose: () => this.#fileClosed(folder, open) });
  }

  async estimate(): Promise<{ files: number; bytes: number }> {
    const { databases } = this.#parts;
    const bytes = databases.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
    return { files: databases.length, bytes };
  }

  async close(): Promise<void> {
    this.#settled.reject(new HoldfastError('internal', 'the source was closed'));
    this.#giveUp();
    await Promise.all(this.#closing);
  }

  /** Ends what was begun; it can begin again. */
  #giveUp(): void {
    const dumps = [...this.#dumps.values()];
    this.#dumps.clear();
    for (const opening of dumps) {
      this.#closing.push(
        opening.then(
          ({ dump }) => dump[Symbol.asyncDispose](),
          () => undefined,
        ),
      );
    }
    if (this.#globals !== undefined) this.#closing.push(this.#globals[Symbol.asyncDispose]());
    this.#globals = undefined;
  }

  #beginGlobals(): BegunContent {
    const { tools, passwordsReadable } = this.#parts;
    const { connection, signal } = this.#options;
    const args = globalsArguments(tools, { database: connection.database, withPasswords: passwordsReadable });
    return new BegunContent((ends) => runTool({ tools, program: 'pg_dumpall', args, connection, signal: ends }), signal);
  }

  #top(): SourceEntry[] {
    const skipped: SkippedEntry = {
      path: '/globals.sql',
      reason: `is there without the passwords of the roles: ${this.#options.connection.user} may not read pg_authid`,
    };
    const entries = [this.#file('README.txt'), this.#folder('databases'), this.#file('globals.sql'), this.#file('manifest.json')];
    return this.#parts.passwordsReadable ? entries : [...entries, { kind: 'skipped', skipped }];
  }

  #dumpOf(facts: DatabaseFacts): Promise<OpenDump> {
    const folder = encodeName(facts.name);
    const known = this.#dumps.get(folder);
    if (known !== undefined) return known;
    const opening = this.#openDump(facts);
    this.#dumps.set(folder, opening);
    return opening;
  }

  async #openDump(facts: DatabaseFacts): Promise<OpenDump> {
    const { connection, schemas, excludeTables, ...rest } = this.#options;
    const dump = await DatabaseDump.open({
      ...rest,
      connection: { ...connection, database: facts.name },
      facts,
      choice: { schemas, excludeTables },
      tools: this.#parts.tools,
    });
    return { dump, filesLeft: dump.files.size };
  }

  /** The last file of a database: its moment is not needed any more. */
  #fileClosed(folder: string, open: OpenDump): void {
    open.filesLeft--;
    if (open.filesLeft > 0) return;
    this.#manifests.set(folder, open.dump.manifest());
    this.#dumps.delete(folder);
    this.#closing.push(open.dump[Symbol.asyncDispose]());
    if (this.#manifests.size === this.#parts.databases.length) this.#settled.resolve();
  }

  /** It counts rows, so it is there when all else is. Whoever reads begins the files in the order in which they are listed. */
  async #manifest(): Promise<string> {
    await this.#settled.promise;
    const { server, tools } = this.#parts;
    const databases = [...this.#manifests.values()].toSorted((a, b) => (a.name < b.name ? -1 : 1));
    const manifest: Manifest = { format: 'holdfast-postgresql-logical', version: 1, server, tools: { major: tools.major }, databases };
    return `${JSON.stringify(manifest, null, 2)}\n`;
  }

  #file(name: string, estimatedBytes = 0, timeNs = this.#startedNs): SourceEntry {
    return {
      kind: 'node',
      node: { ...madeUp(name, timeNs), type: 'file', mode: 0o600, sizeBytes: Math.max(estimatedBytes, minClaimedBytes) },
    };
  }

  #folder(name: string, timeNs = this.#startedNs): SourceEntry {
    return { kind: 'node', node: { ...madeUp(name, timeNs), type: 'dir', mode: 0o700, sizeBytes: 0 } };
  }
}

/** What a file has that is on no disk. The time is the backup's, so no file is ever taken for the one of an earlier backup. */
function madeUp(name: string, timeNs: bigint): Omit<SourceNode, 'type' | 'mode' | 'sizeBytes'> {
  const times = { modifiedNs: timeNs, accessedNs: timeNs, changedNs: timeNs };
  return { name, ...times, uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0, inode: 0n, deviceId: 0n, linkCount: 1n };
}

function plainFile(content: FileContent): SourceFile {
  return new StreamFile(content, { hasRows: false, onClose: () => {} });
}

function byName(a: SourceEntry, b: SourceEntry): number {
  if (a.kind === 'skipped' || b.kind === 'skipped') return 0;
  return compareNames(a.node, b.node);
}

function notFound(path: string): HoldfastError {
  return new HoldfastError('path_not_found', `a logical backup has no ${path}`);
}
