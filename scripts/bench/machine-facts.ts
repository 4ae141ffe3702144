import { availableParallelism, cpus, loadavg, release, totalmem } from 'node:os';

/** What figures depend on besides the programs. */
export interface MachineFacts {
  readonly cores: number;
  readonly processor: string;
  readonly kernel: string;
  readonly memoryBytes: number;
  readonly node: string;
  /** Before the bench began, over a minute: what is far from 0 was work of others, and the figures are not to be trusted. */
  readonly load: number;
}

export function readMachineFacts(): MachineFacts {
  return {
    cores: availableParallelism(),
    processor: cpus()[0]?.model.trim() ?? 'unknown',
    kernel: release(),
    memoryBytes: totalmem(),
    node: process.versions.node,
    load: loadavg()[0] ?? 0,
  };
}
