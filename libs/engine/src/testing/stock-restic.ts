import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** A stock restic program, run on a repository in a local folder. */
export interface StockRestic {
  readonly name: string;
  readonly version: string;
  /** Standard output. Rejects, with standard error in the message, when restic exits with anything but 0. */
  run(repositoryPath: string, args: readonly string[], options?: { password?: string }): Promise<string>;
}

/** Debian's restic, and a newer one that packs at random (0.18). */
const wanted = [
  { name: 'restic on PATH', binary: 'restic' },
  { name: 'restic of RESTIC_NEWER_BIN', binary: process.env['RESTIC_NEWER_BIN'] },
];

/** The programs that are here, and the names of those that are not. With CI=true a missing one is an error. */
export async function findStockRestics(): Promise<{ found: StockRestic[]; missing: string[] }> {
  const found: StockRestic[] = [];
  const missing: string[] = [];
  for (const { name, binary } of wanted) {
    const version = binary === undefined ? null : await versionOf(binary);
    if (binary === undefined || version === null) missing.push(name);
    else
      found.push({
        name,
        version,
        run: (repositoryPath, args, options) => runRestic(binary, repositoryPath, args, options?.password ?? 'secret'),
      });
  }
  if (missing.length > 0 && process.env['CI'] === 'true') throw new Error(`missing: ${missing.join(', ')}`);
  return { found, missing };
}

async function versionOf(binary: string): Promise<string | null> {
  try {
    const { stdout } = await run(binary, ['version']);
    return /restic (\S+)/.exec(stdout)?.[1] ?? null;
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return null;
    throw error;
  }
}

async function runRestic(binary: string, repositoryPath: string, args: readonly string[], password: string): Promise<string> {
  const { stdout } = await run(binary, ['--no-cache', '--repo', repositoryPath, ...args], {
    env: { ...process.env, RESTIC_PASSWORD: password },
    maxBuffer: 64 * 1024 * 1024,
  });
  return stdout;
}
