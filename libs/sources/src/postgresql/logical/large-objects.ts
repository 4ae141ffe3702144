import { HoldfastError, isHoldfastError } from '@holdfast/errors/holdfast-error';
import { quoteIdentifier } from './quote.ts';
import { transferEncoding } from './session-settings.ts';
import type { Session } from './session.ts';
import type { FileContent } from './stream-file.ts';

/**
 * /databases/<db>/large-objects.sql: each object made unless pre-data.sql has made it (pg_dump does until 16), given to its owner, and
 * filled page by page. The server writes the statements itself, by COPY of a query: nothing is held here. Pages are read from
 * pg_largeobject, which pg_read_all_data may, while lo_get asks for a right on each object.
 */
const objectsSql = `
  SELECT pg_catalog.concat_ws(E' ',
    pg_catalog.format('SELECT pg_catalog.lo_create(%s) WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_largeobject_metadata WHERE oid = %s);', m.oid, m.oid),
    pg_catalog.format('ALTER LARGE OBJECT %s OWNER TO %I;', m.oid, pg_catalog.pg_get_userbyid(m.lomowner)),
    (SELECT pg_catalog.string_agg(pg_catalog.format('GRANT %s ON LARGE OBJECT %s TO %s;', a.privilege_type, m.oid,
        CASE WHEN a.grantee = 0 THEN 'PUBLIC' ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(a.grantee)) END), ' ')
     FROM pg_catalog.aclexplode(m.lomacl) a WHERE a.grantee <> m.lomowner))
  FROM pg_catalog.pg_largeobject_metadata m ORDER BY m.oid`;

const pagesSql = `
  SELECT pg_catalog.format('SELECT pg_catalog.lo_put(%s, %s, pg_catalog.decode(''%s'', ''hex''));',
    l.loid, l.pageno::pg_catalog.int8 * (pg_catalog.current_setting('block_size')::pg_catalog.int8 / 4), pg_catalog.encode(l.data, 'hex'))
  FROM pg_catalog.pg_largeobject l ORDER BY l.loid, l.pageno`;

const header = (encoding: string): string => `SET client_encoding = '${transferEncoding(encoding)}';\nSET search_path = '';\n`;

const action = 'reading the large objects';

/** Codes: postgresql_denied, with the right that is needed; those of Session. */
export async function* largeObjectContent(session: Session, databaseEncoding: string, key: bigint): FileContent {
  yield Buffer.from(header(databaseEncoding));
  // Without objects nobody needs the right to read them.
  if ((await countLargeObjects(session)) === 0) return;
  yield* session.copyOut(`COPY (${objectsSql}) TO STDOUT`, { action, key });
  try {
    yield* session.copyOut(`COPY (${pagesSql}) TO STDOUT`, { action, key });
  } catch (error) {
    if (!isHoldfastError(error, 'postgresql_denied')) throw error;
    const role = quoteIdentifier(session.user);
    const hint = `run as a superuser: GRANT pg_read_all_data TO ${role}; or in this database: GRANT SELECT ON pg_catalog.pg_largeobject TO ${role};`;
    throw new HoldfastError(error.code, error.message, { cause: error, context: error.context, hint });
  }
}

export async function countLargeObjects(session: Session): Promise<number> {
  const [row] = await session.query('SELECT count(*) FROM pg_largeobject_metadata', [], 'counting the large objects');
  return Number(row?.[0]);
}
