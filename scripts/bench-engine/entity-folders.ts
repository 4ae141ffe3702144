import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { makeContent } from './text-maker.ts';

/** The files of one business entity in the warm scenario. */
const filesPerEntity = 20;
const fileSizeBytes = 4_000;

export function entityName(entity: number): string {
  return `entity-${String(entity).padStart(4, '0')}`;
}

/** Writes the files of an entity; no two entities have the same. */
export function makeEntity(folder: string, entity: number): void {
  const path = join(folder, entityName(entity));
  mkdirSync(path, { recursive: true });
  for (let nth = 0; nth < filesPerEntity; nth++) writeEntityFile(path, nth, `${entity} ${nth}`);
}

/** What happens between two backups of an entity: one file gets another content. */
export function changeEntity(folder: string, entity: number): void {
  writeEntityFile(join(folder, entityName(entity)), 0, `${entity} changed`);
}

function writeEntityFile(folder: string, nth: number, seed: string): void {
  const content = Buffer.concat([...makeContent('source', seed, fileSizeBytes + nth)].map((piece) => Buffer.from(piece)));
  writeFileSync(join(folder, `file-${nth}.ts`), content);
}
