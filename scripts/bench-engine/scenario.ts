import type { BackupTool, ToolName } from './backup-tool.ts';
import type { BenchOptions } from './bench-options.ts';
import type { WorkFolder } from '../bench/work-folder.ts';

/** What every scenario is given. */
export interface BenchContext {
  readonly options: BenchOptions;
  readonly work: WorkFolder;
  readonly tools: readonly BackupTool[];
  readonly say: (text: string) => void;
  readonly signal: AbortSignal;
}

/** What a scenario has found: lines for people and everything for a program. */
export interface ScenarioReport {
  readonly table: string;
  readonly notes: readonly string[];
  readonly json: object;
}

export type Scenario = (context: BenchContext) => Promise<ScenarioReport>;

export function toolNamed(context: BenchContext, name: ToolName): BackupTool | undefined {
  return context.tools.find((tool) => tool.name === name);
}
