import pg from 'pg';
import { HoldfastError } from '@holdfast/errors/holdfast-error';

/** What an inspection finds wrong, and what it could not look at: values, never exceptions. */
export interface InspectionFinding {
  readonly kind:
    | 'catalog_unreadable'
    | 'table_unreadable'
    | 'table_damaged'
    | 'index_damaged'
    | 'checksum_failed'
    | 'assertion_failed'
    /** Of a logical backup. */
    | 'database_not_restored'
    | 'table_not_restored';
  readonly database: string;
  /** `schema.name`, as SQL quotes it; null when it is about the whole database. */
  readonly relation: string | null;
  /** What the server said. */
  readonly detail: string;
}

/** Beyond it nobody reads; they are counted. */
const maxFindingCount = 1_000;
const maxNoteCount = 200;
const maxDetailLength = 500;

const queryCancelled = '57014';

export class InspectionLog {
  readonly findings: InspectionFinding[] = [];
  readonly notes: string[] = [];
  findingCount = 0;

  find(finding: InspectionFinding): void {
    this.findingCount++;
    if (this.findings.length < maxFindingCount) this.findings.push({ ...finding, detail: finding.detail.slice(0, maxDetailLength) });
  }

  note(text: string): void {
    if (this.notes.length < maxNoteCount) this.notes.push(text.slice(0, maxDetailLength));
  }

  /**
   * Gives what `look` gives; null when the server refused, which is a finding, or had not enough time, which is a note. Whatever is no
   * answer of a server goes through.
   */
  async attempt<T>(about: Omit<InspectionFinding, 'detail'>, look: () => Promise<T>): Promise<T | null> {
    try {
      return await look();
    } catch (error) {
      if (!(error instanceof pg.DatabaseError)) throw error;
      if (error.code === queryCancelled) this.note(`${about.database} ${about.relation ?? ''}: not looked at in the time that there was`);
      else this.find({ ...about, detail: error.message });
      return null;
    }
  }
}

/** A connection to a server that is inspected, as long as `use` takes. An abort breaks it off; a server that ends is an error. */
export async function withClient<T>(
  connection: InspectedConnection,
  signal: AbortSignal,
  use: (client: pg.Client) => Promise<T>,
): Promise<T> {
  signal.throwIfAborted();
  const client = new pg.Client({
    ...connection,
    password: () => '',
    connectionTimeoutMillis: connectTimeoutMs,
    application_name: 'holdfast inspection',
  });
  // A broken connection is told by the query that fails.
  client.on('error', () => undefined);
  const onAbort = (): void => void client.end().catch(() => undefined);
  try {
    await client.connect();
    signal.addEventListener('abort', onAbort, { once: true });
    return await use(client);
  } catch (error) {
    signal.throwIfAborted();
    if (error instanceof pg.DatabaseError || error instanceof HoldfastError) throw error;
    const said = error instanceof Error ? error.message : String(error);
    throw new HoldfastError('postgresql_recovery_failed', `the server ended while it was inspected: ${said}`, {
      hint: 'data that makes a server end is damaged: recover from another base backup',
      cause: error,
    });
  } finally {
    signal.removeEventListener('abort', onAbort);
    await client.end().catch(() => undefined);
  }
}

export interface InspectedConnection {
  /** A folder with a socket, or an address. */
  readonly host: string;
  readonly port: number;
  readonly user: string;
  readonly database: string;
}

const connectTimeoutMs = 10_000;
