import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { exitLike, runChild } from './child-process.mjs';
import { prepare } from './prepare.mjs';
import { toolEnvironment, workspaceNode } from './workspace-node.mjs';

const checkout = join(dirname(fileURLToPath(import.meta.url)), '..', '..');

/** What a word stands for: [program, arguments before the caller's own]. */
export function resolveWord(root, word) {
  if (word === 'holdfast') return [workspaceNode(root), [join(root, 'apps', 'cli', 'src', 'main.ts')]];
  if (word === 'check') {
    const script = ['check.ts', 'check.mjs'].map((name) => join(root, 'scripts', name)).find((path) => existsSync(path));
    if (script !== undefined) return [workspaceNode(root), [script]];
  }
  if (word === 'bench:engine') return [workspaceNode(root), [join(root, 'scripts', 'bench-engine', 'main.ts')]];
  if (word === 'bench:postgres') return [workspaceNode(root), [join(root, 'scripts', 'bench-postgres', 'main.ts')]];
  if (word === 'bench:storage') return [workspaceNode(root), [join(root, 'scripts', 'bench-storage', 'main.ts')]];
  if (word === 'bench:types') return [workspaceNode(root), [join(root, 'scripts', 'bench-types', 'main.ts')]];
  const tool = join(root, 'node_modules', '.bin', word);
  if (/^[\w.-]+$/.test(word) && existsSync(tool)) return [tool, []];
  throw new Error(
    `there is no command ${word}: say holdfast, check, bench:engine, bench:postgres, bench:storage, bench:types, or a tool of node_modules/.bin`,
  );
}

export async function runCommand(args) {
  try {
    const [word, ...rest] = args;
    if (word === undefined) throw new Error('say what to run, such as `node scripts/run.mjs holdfast up`');
    await prepare(checkout);
    const [program, before] = resolveWord(checkout, word);
    // The command watches this pid, so that it stops as well when this process is killed and can pass nothing on.
    const env = { ...toolEnvironment(checkout), HOLDFAST_PARENT_PID: String(process.pid) };
    exitLike(await runChild(program, [...before, ...rest], { cwd: checkout, env }));
  } catch (error) {
    process.stderr.write(`holdfast: ${error instanceof Error ? error.message : String(error)}\n`);
    process.exit(1);
  }
}
