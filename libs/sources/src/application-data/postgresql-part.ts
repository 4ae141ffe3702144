import { HoldfastError } from '@holdfast/errors/holdfast-error';
import {
  openLogicalSource,
  type DatabaseMoment,
  type LogicalSourceOptions,
  type ServerSource,
} from '../postgresql/logical/logical-source.ts';
import type { Part, PartFacts, PartMoment } from './part.ts';

export interface PostgresqlPartOptions extends Omit<LogicalSourceOptions, 'signal'> {
  readonly name: string;
  readonly signal: AbortSignal;
}

/** Each has connections of its own open from its moment until it is read: more would use up what servers usually have. */
const maxDatabaseCount = 16;

/**
 * Databases of a PostgreSQL server, as a logical backup shows them. Each is of one moment; that all are of the same is up to whoever holds the
 * application meanwhile. Codes: those of openLogicalSource, request_invalid (too many databases); later those of takeMoments and of the files.
 */
export async function openPostgresqlPart({ name, ...options }: PostgresqlPartOptions): Promise<Part> {
  const closing = new AbortController();
  const source = await openLogicalSource({ ...options, signal: AbortSignal.any([options.signal, closing.signal]) });
  if (source.databaseCount <= maxDatabaseCount) return new PostgresqlPart(name, source, closing);
  await source.close();
  const message = `part ${JSON.stringify(name)}: ${source.server.place} has ${source.databaseCount} databases, and at most ${maxDatabaseCount} can have one moment`;
  throw new HoldfastError('request_invalid', message, { hint: 'name those that belong to the application in databases' });
}

class PostgresqlPart implements Part {
  readonly kind = 'postgresql';
  readonly name: string;
  readonly source: ServerSource;
  readonly #closing: AbortController;
  #moments: readonly DatabaseMoment[] | undefined;
  #takenAt = '';

  constructor(name: string, source: ServerSource, closing: AbortController) {
    this.name = name;
    this.source = source;
    this.#closing = closing;
  }

  async takeMoment(signal: AbortSignal): Promise<PartMoment> {
    const onAbort = (): void => this.#closing.abort(signal.reason);
    signal.throwIfAborted();
    signal.addEventListener('abort', onAbort, { once: true });
    try {
      if (this.#moments === undefined) {
        const moments = await this.source.takeMoments();
        this.#takenAt = new Date().toISOString();
        this.#moments = moments;
      }
      return { takenAt: this.#takenAt, warnings: [] };
    } finally {
      signal.removeEventListener('abort', onAbort);
    }
  }

  async facts(): Promise<PartFacts> {
    if (this.#moments === undefined) throw new HoldfastError('internal', `the moment of part ${this.name} was not taken`);
    const { place, version } = this.source.server;
    return { server: place, version, takenAt: this.#takenAt, databases: this.#moments.map((moment) => ({ ...moment })) };
  }

  async close(): Promise<void> {
    this.#closing.abort(new HoldfastError('internal', 'the part was closed'));
    await this.source.close();
  }
}
