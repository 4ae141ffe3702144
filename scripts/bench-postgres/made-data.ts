/** Data of a size and a compressibility, made by the server itself out of row numbers: the same at every server and in every run. */

export const contents = ['2:1', '6:1'] as const;
export type Content = (typeof contents)[number];

/** A digest has 16 bytes that nothing makes smaller, as 32 hexadecimal digits; the sentence is the same in every row. */
const digestCounts: Readonly<Record<Content, number>> = { '2:1': 24, '6:1': 4 };
const sentence = 'the order was received, checked by two people, packed and sent on its way; no complaint has come since. ';
/** Of the sentences, in all rows alike. */
const sentenceBytes: Readonly<Record<Content, number>> = { '2:1': 0, '6:1': 270 };
/** Row head, number, stamp, and the entry of the primary key. */
const rowOverheadBytes = 24 + 4 + 12 + 8 + 20;

const tables = ['orders', 'items'] as const;

/** Rows of a table that takes about so many bytes with its key. */
export function rowCountOf(content: Content, sizeBytes: number): number {
  return Math.floor(sizeBytes / (digestCounts[content] * 32 + sentenceBytes[content] + rowOverheadBytes));
}

/** Two tables, as two connections of a logical backup take one each; statements for connections without a transaction around them. */
export function makeDataSql(content: Content, sizeBytes: number): string[] {
  const rows = rowCountOf(content, sizeBytes);
  const digests = Array.from({ length: digestCounts[content] }, (_, nth) => `md5((n * 31 + ${nth})::text || '${content}')`).join(' || ');
  const text = `substr(repeat('${sentence}', 10), 1, ${sentenceBytes[content]})`;
  return tables.flatMap((table, nth) => [
    `DROP TABLE IF EXISTS ${table}`,
    `CREATE TABLE ${table} AS SELECT n AS id, 0::bigint AS stamp, ${digests} || ${text} AS body
     FROM generate_series(${nth} * ${Math.floor(rows / 2)} + 1, ${nth + 1} * ${Math.floor(rows / 2)}) n`,
    `ALTER TABLE ${table} ADD PRIMARY KEY (id)`,
    // With hint bits set: reading it writes nothing.
    `VACUUM (FREEZE, ANALYZE) ${table}`,
  ]);
}

/** Of all rows, in no order: counts, and sums that another row would change. */
export const rowDigestSql = tables
  .map(
    (table) => `SELECT '${table}' AS name, count(*)::text AS rows, sum(hashtext(body || stamp || id)::bigint)::text AS sum FROM ${table}`,
  )
  .join(' UNION ALL ');

/** Every table's share of rows that lie together, as the newest ones of a table that grows do; another twentieth in each round. */
export function changeDataSql(content: Content, sizeBytes: number, round: number): string[] {
  const half = Math.floor(rowCountOf(content, sizeBytes) / 2);
  const share = Math.floor(half / 20);
  return tables.map((table, nth) => {
    const first = nth * half + 1 + ((round * share) % half);
    return `UPDATE ${table} SET stamp = stamp + ${round} WHERE id >= ${first} AND id < ${first + share}`;
  });
}
