import { quoteIdentifier, quoteName, type QualifiedName } from './quote.ts';

/**
 * The file of one table, for psql:
 *
 *     SET client_encoding = 'UTF8';
 *     SET search_path = '';
 *     COPY "public"."orders" ("id", "customer") FROM stdin;
 *     1<tab>17
 *     \.
 *
 * Rows are COPY's text format, as the server sends it and takes it again.
 */
export interface CopiedTable extends QualifiedName {
  /** Those that are stored. */
  readonly columns: readonly string[];
}

/** Ends the rows, for psql. */
export const copyTrailer = Buffer.from('\\.\n');

export function copyHeader(table: CopiedTable, encoding: string): Buffer {
  return Buffer.from(`SET client_encoding = '${encoding}';\nSET search_path = '';\n${copyInStatement(table)};\n`);
}

/** A table without columns has rows all the same: an empty line each. */
export function copyInStatement(table: CopiedTable): string {
  return `COPY ${quoteName(table)}${columnList(table)} FROM stdin`;
}

/** The rows of this very table, none of its children. `condition` is SQL that an extension brought. */
export function copyOutStatement(table: CopiedTable, condition: string | null): string {
  if (condition === null) return `COPY ${quoteName(table)}${columnList(table)} TO STDOUT`;
  return `COPY (SELECT ${table.columns.map(quoteIdentifier).join(', ')} FROM ONLY ${quoteName(table)} ${condition}) TO STDOUT`;
}

function columnList({ columns }: CopiedTable): string {
  return columns.length === 0 ? '' : ` (${columns.map(quoteIdentifier).join(', ')})`;
}
