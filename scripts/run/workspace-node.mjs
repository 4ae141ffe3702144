// The Node that the workspace pins through npm, and the environment in which its tools run.
import { existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';

/** The sources are TypeScript that Node runs as it stands; this is the version that they are tested with. */
const neededMajor = 26;

const pinnedFolder = (root) => join(root, 'tools', 'node', 'node_modules', '.bin');

/** Path of the pinned Node; on a platform for which npm has none, the Node that runs this, when it is new enough. */
export function workspaceNode(root) {
  const pinned = join(pinnedFolder(root), 'node');
  if (existsSync(pinned)) return pinned;
  if (Number(process.versions.node.split('.')[0]) >= neededMajor) return process.execPath;
  throw new Error(`npm has no Node ${neededMajor} for ${process.platform}-${process.arch}: install it and start again`);
}

export function toolEnvironment(root) {
  const path = [pinnedFolder(root), join(root, 'node_modules', '.bin'), process.env.PATH ?? ''].join(delimiter);
  return { ...process.env, PATH: path };
}
