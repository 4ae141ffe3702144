import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { TestPostgres } from './test-postgres.ts';

/** Makes the server begin a new timeline, as a standby does that is promoted when its primary is gone. */
export async function promote(server: TestPostgres): Promise<void> {
  await server.stop();
  await writeFile(join(server.dataDir, 'standby.signal'), '');
  await server.start();
  await server.query('SELECT pg_promote()');
  await rm(join(server.dataDir, 'standby.signal'), { force: true });
}
