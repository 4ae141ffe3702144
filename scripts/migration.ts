// Migrations are written by this script and kept equal to prisma/schema.prisma by it.
//   node scripts/migration.ts create <name>   writes prisma/migrations/<now>_<name>/migration.sql: what the schema has and they lack
//   node scripts/migration.ts check           exits 1 and prints the difference when there is one
// What Prisma's schema cannot say (triggers, CHECK constraints) is added to a migration by hand; the check does not see it.
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { PrismaPg } from '@prisma/adapter-pg';
import { bindMigrationAwareSqlAdapterFactory, ColumnTypeEnum } from '@prisma/driver-adapter-utils';
import { type DiffTarget, SchemaEngine } from '@prisma/schema-engine-wasm';
import { migrate } from '../libs/database/src/migrate.ts';
import { type Database, openDatabase } from '../libs/database/src/open-database.ts';
import { setup } from '../libs/database/src/testing/global-setup.ts';
import { createEmptyDatabase } from '../libs/database/src/testing/test-database.ts';

const prismaFolder = join(import.meta.dirname, '../prisma');

/** SQL that leads from what the migrations make to what the schema says; empty when they agree. */
async function findDrift(): Promise<string> {
  const path = join(prismaFolder, 'schema.prisma');
  const files = [{ path, content: await readFile(path, 'utf8') }];
  const scratch = await createEmptyDatabase();
  try {
    await migrate(scratch.url, { folder: join(prismaFolder, 'migrations') });
    // A pool of ours: the engine leaves its own open. The schema is compared as it stands, so no shadow database is needed.
    await using database = await openDatabase({ url: scratch.url, applicationName: 'holdfast-migration-script' });
    const adapter = bindMigrationAwareSqlAdapterFactory(new IntrospectingPg(database.pool));
    using engine = await SchemaEngine.new({ datamodels: undefined }, () => undefined, adapter);
    const from: DiffTarget = { tag: 'schemaDatasource', files, configDir: prismaFolder };
    const to: DiffTarget = { tag: 'schemaDatamodel', files };
    const noExceptions = { externalTables: [], externalEnums: [] };
    const { stdout } = await engine.diff({ from, to, script: true, exitCode: null, filters: noExceptions });
    const sql = (stdout ?? '').trim();
    return sql.replaceAll(/^--.*$/gmu, '').trim() === '' ? '' : sql;
  } finally {
    await scratch.drop();
  }
}

/** PostgreSQL's internal one-byte type "char": the engine asks for it, PostgreSQL 18 answers with it, the adapter does not know it. */
const charOid = 18;
const textOid = 25;

/** adapter-pg that lets columns of "char" through: seen as text where the adapter looks, named as characters to the engine. */
class IntrospectingPg extends PrismaPg {
  readonly #charColumns: Set<string>;

  constructor(pool: Database['pool']) {
    const charColumns = new Set<string>();
    const query = async (config: { text: string; values: unknown[] }): Promise<unknown> => {
      const result = await pool.query(config);
      for (const field of result.fields.filter(({ dataTypeID }) => dataTypeID === charOid)) {
        field.dataTypeID = textOid;
        charColumns.add(field.name);
      }
      return result;
    };
    super(new Proxy(pool, { get: (target, name, self): unknown => (name === 'query' ? query : Reflect.get(target, name, self)) }));
    this.#charColumns = charColumns;
  }

  override async connect(): ReturnType<PrismaPg['connect']> {
    const adapter = await super.connect();
    const queryRaw = adapter.queryRaw.bind(adapter);
    adapter.queryRaw = async (query) => {
      const result = await queryRaw(query);
      const isChar = (index: number): boolean => this.#charColumns.has(result.columnNames[index] ?? '');
      const columnTypes = result.columnTypes.map((type, index) => (isChar(index) ? ColumnTypeEnum.Character : type));
      return { ...result, columnTypes };
    };
    return adapter;
  }
}

async function check(): Promise<number> {
  const drift = await findDrift();
  if (drift === '') return 0;
  console.error('prisma/migrations do not make what prisma/schema.prisma says; this is missing:\n');
  console.error(drift);
  console.error('\nwrite it with: node scripts/migration.ts create <name>');
  return 1;
}

async function create(name: string): Promise<number> {
  const drift = await findDrift();
  if (drift === '') {
    console.error('nothing to do: the migrations make what the schema says');
    return 0;
  }
  const stamp = new Date().toISOString().replaceAll(/\D/gu, '').slice(0, 14);
  const folder = join(prismaFolder, 'migrations', `${stamp}_${name}`);
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, 'migration.sql'), `${drift}\n`);
  console.log(join(folder, 'migration.sql'));
  return 0;
}

async function main([command, name]: readonly string[]): Promise<number> {
  if (command === 'check') return check();
  if (command === 'create' && name !== undefined && /^[a-z][a-z0-9_]*$/u.test(name)) return create(name);
  console.error('usage: node scripts/migration.ts check | create <name in small letters, digits and _>');
  return 2;
}

const tearDown = await setup();
try {
  process.exitCode = await main(process.argv.slice(2));
} finally {
  await tearDown();
}
