import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { quoteName, runStatements, type StatementPlace } from '../statements.ts';

/** In a scratch database: says that the target is being filled by this recovery, and so is its own to make anew after a crash. */
const fillingTable = 'holdfast_is_filling_the_target';
const namePrefix = 'holdfast_';
/** A name has 64 characters. */
const maxIdLength = 50;

/**
 * The database of a recovery that nobody else uses, by the recovery's id: one that was killed and is tried again finds it. Holds tables
 * until they are whole.
 */
export class ScratchDatabase {
  readonly name: string;
  readonly #place: StatementPlace;
  readonly #id: string;

  constructor(place: StatementPlace, id: string) {
    if (!/^\w+$/u.test(id) || id.length > maxIdLength)
      throw new HoldfastError('internal', 'a recovery has an id that no database can be called by');
    this.name = `${namePrefix}${id}`;
    this.#place = place;
    this.#id = id;
  }

  /** The same one, with another signal. */
  at(place: StatementPlace): ScratchDatabase {
    return new ScratchDatabase(place, this.#id);
  }

  /** Whether a former attempt of this recovery had begun to fill the target. */
  async wasFilling(): Promise<boolean> {
    const rows = await runStatements(this.#place, `SHOW DATABASES LIKE '${likePattern(this.name)}'`);
    return rows.length > 0 && (await this.holds(fillingTable));
  }

  /** Whether it has a table of this name. It has to be there. */
  async holds(table: string): Promise<boolean> {
    return (await runStatements(this.#place, `SHOW TABLES FROM ${quoteName(this.name)} LIKE '${likePattern(table)}'`)).length > 0;
  }

  async make({ characterSet, collation }: { readonly characterSet: string; readonly collation: string }): Promise<void> {
    await this.drop();
    await runStatements(this.#place, createDatabaseSql(this.name, { characterSet, collation }));
  }

  async noteFilling(): Promise<void> {
    await runStatements(this.#place, `CREATE TABLE ${quoteName(this.name)}.${fillingTable} (nothing INT)`);
  }

  async drop(): Promise<void> {
    await runStatements(this.#place, `SET foreign_key_checks = 0; DROP DATABASE IF EXISTS ${quoteName(this.name)}`);
  }
}

/** Names of character sets come from a backup: no other word is let through. */
export function createDatabaseSql(name: string, { characterSet, collation }: { characterSet: string; collation: string }): string {
  if (!/^\w+$/u.test(characterSet) || !/^\w+$/u.test(collation)) {
    throw new HoldfastError('repository_damaged', 'manifest.json names a character set that is none');
  }
  return `CREATE DATABASE ${quoteName(name)} CHARACTER SET ${characterSet} COLLATE ${collation}`;
}

function likePattern(name: string): string {
  return name.replaceAll(/[_%\\]/gu, '\\$&');
}
