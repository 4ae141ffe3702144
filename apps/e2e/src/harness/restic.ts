import { run } from './data-tree.ts';
import type { Tenant } from './system.ts';

const outputLimitBytes = 16 * 1024 * 1024;

/** Stock restic (RESTIC_BIN, else the one on PATH) on a tenant's repository; its standard output. Rejects when restic fails. */
export async function restic(tenant: Tenant, ...args: string[]): Promise<string> {
  const { stdout } = await run(process.env['RESTIC_BIN'] ?? 'restic', ['--no-cache', '-r', tenant.repositoryPath, ...args], {
    env: { ...process.env, RESTIC_PASSWORD: tenant.password },
    maxBuffer: outputLimitBytes,
  });
  return stdout;
}

/** Every byte read and every reference followed, by a program that is not ours. */
export async function checkWithRestic(tenant: Tenant): Promise<void> {
  await restic(tenant, 'check', '--read-data');
}

/** Ids of all snapshots. */
export async function listSnapshots(tenant: Tenant): Promise<string[]> {
  const snapshots = JSON.parse(await restic(tenant, 'snapshots', '--json')) as { id: string }[];
  return snapshots.map((snapshot) => snapshot.id);
}
