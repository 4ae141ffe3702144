import { execFileSync } from 'node:child_process';
import { freemem } from 'node:os';

const blockBytes = 64 * 1024 * 1024;

/**
 * Writes to memory once, and gives it back: a virtual machine may have handed what is free to its host, and whoever is first to use it again
 * pays for that, half a second a GB and more. In a process of its own, which leaves nothing behind. At most half of what is free.
 */
export function touchMemory(sizeBytes: number): void {
  const count = Math.ceil(Math.min(sizeBytes, freemem() / 2) / blockBytes);
  const script = `const held = []; for (let nth = 0; nth < ${count}; nth++) held.push(Buffer.alloc(${blockBytes}, 1));`;
  execFileSync(process.execPath, ['--eval', script]);
}
