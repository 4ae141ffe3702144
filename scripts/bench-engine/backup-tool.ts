import type { Command } from '../bench/measured-run.ts';

export type ToolName = 'holdfast' | 'restic' | 'borg';

/** What a tool is asked to do with one repository. A restore takes the newest snapshot, and all of it. */
export type Work =
  | { readonly kind: 'backup'; readonly folder: string }
  | { readonly kind: 'check' }
  | { readonly kind: 'restore'; readonly target: string };

/** A program that backs up, and how it is called. */
export interface BackupTool {
  readonly name: ToolName;
  readonly version: string;
  /** Makes an empty repository; not measured. */
  makeRepository(path: string): Promise<void>;
  commandFor(work: Work, repositoryPath: string): Command;
  /** Backs up what it reads from its standard input as the file `/stdin`. Absent where a tool has no such thing or is not compared in it. */
  streamCommandFor?(file: string, repositoryPath: string): Command;
}

/** Of every repository that the bench makes. */
export const benchPassword = 'bench';

/** The command with the file as its standard input. */
export function withInput(file: string, { program, args, ...rest }: Command): Command {
  return { ...rest, program: '/bin/sh', args: ['-c', 'input=$1; shift; exec "$@" <"$input"', 'sh', file, program, ...args] };
}
