import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { workerMemory } from '../../libs/settings/src/worker-memory.ts';
import { benchPassword, type BackupTool } from './backup-tool.ts';
import { changeEntity, entityName, makeEntity } from './entity-folders.ts';
import { measure } from '../bench/measured-run.ts';
import { formatNumber, formatTable } from '../bench/report-table.ts';
import { toolNamed, type BenchContext, type ScenarioReport } from './scenario.ts';
import { median, ratio } from '../bench/statistics.ts';

/** restic's time for all of them through ours, at least. */
const warmBar = 25;
const entityCounts = { full: 1_000, quick: 100 } as const;
/** restic's backups are alike, so a sample tells what all of them would take. */
const sampleCounts = { full: 30, quick: 10 } as const;

interface Phases {
  readonly firstMs: number;
  readonly changedMs: number;
}

/** Backups of 1,000 entities with 20 small files each, a repository for each: in one warm process of ours, and a restic process for each. */
export async function runWarm(context: BenchContext): Promise<ScenarioReport> {
  const { options, work, say, signal } = context;
  const size = options.quick ? 'quick' : 'full';
  const [entityCount, sampleCount] = [entityCounts[size], sampleCounts[size]];
  const restic = toolNamed(context, 'restic');
  const holdfast = toolNamed(context, 'holdfast');
  if (holdfast === undefined) throw new Error('this scenario needs holdfast among its tools');

  say(`making ${entityCount} entities and their repositories`);
  for (const name of ['entities', 'repositories', 'restic-repositories']) mkdirSync(join(work.run, name));
  for (let entity = 0; entity < entityCount; entity++) {
    makeEntity(join(work.run, 'entities'), entity);
    await holdfast.makeRepository(join(work.run, 'repositories', entityName(entity)));
  }
  const sample = restic === undefined ? undefined : await sampleRestic(context, restic, sampleCount);
  say(`backing up ${entityCount} entities in one process, ${options.concurrency} at a time`);
  const program = join(import.meta.dirname, 'warm-process.ts');
  const profile = options.profile === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${options.profile}`];
  const args = [...profile, program, work.run, String(entityCount), String(options.concurrency)];
  const cost = await measure(
    { program: process.execPath, args, env: { RESTIC_PASSWORD: benchPassword, NODE_NO_WARNINGS: '1', ...workerMemory } },
    { folder: work.run, signal },
  );
  const ours = JSON.parse(readFileSync(join(work.run, 'warm.json'), 'utf8')) as Phases & { backupCount: number };
  if (restic !== undefined) await checkSome(context, restic);
  return report(context, { ours, sample, peakRssBytes: cost.peakRssBytes, sampleCount, entityCount });
}

/** Medians of single backups. The changes are undone afterwards, so that ours finds the same. */
async function sampleRestic({ work, signal, say }: BenchContext, restic: BackupTool, sampleCount: number): Promise<Phases> {
  say(`backing up ${sampleCount} of them with a restic process each`);
  const phase = async (): Promise<number> => {
    const times: number[] = [];
    for (let entity = 0; entity < sampleCount; entity++) {
      const repository = join(work.run, 'restic-repositories', entityName(entity));
      const command = restic.commandFor({ kind: 'backup', folder: join(work.run, 'entities', entityName(entity)) }, repository);
      times.push((await measure(command, { folder: work.run, signal })).wallMs);
    }
    return median(times);
  };
  for (let entity = 0; entity < sampleCount; entity++)
    await restic.makeRepository(join(work.run, 'restic-repositories', entityName(entity)));
  const firstMs = await phase();
  for (let entity = 0; entity < sampleCount; entity++) changeEntity(join(work.run, 'entities'), entity);
  const changedMs = await phase();
  for (let entity = 0; entity < sampleCount; entity++) makeEntity(join(work.run, 'entities'), entity);
  return { firstMs, changedMs };
}

async function checkSome({ work, signal }: BenchContext, restic: BackupTool): Promise<void> {
  for (const entity of [0, 1, 2]) {
    await measure(restic.commandFor({ kind: 'check' }, join(work.run, 'repositories', entityName(entity))), { folder: work.run, signal });
  }
}

interface WarmResults {
  readonly ours: Phases & { readonly backupCount: number };
  /** Of one restic process; absent without restic. */
  readonly sample: Phases | undefined;
  readonly peakRssBytes: number;
  readonly sampleCount: number;
  readonly entityCount: number;
}

function report({ options }: BenchContext, results: WarmResults): ScenarioReport {
  const { ours, sample, peakRssBytes, sampleCount, entityCount } = results;
  const phases = [
    { name: 'first backup', eachMs: ours.firstMs / ours.backupCount, resticMs: sample?.firstMs },
    { name: 'one file changed', eachMs: ours.changedMs / ours.backupCount, resticMs: sample?.changedMs },
  ].map((phase) => ({ ...phase, faster: ratio(phase.resticMs, phase.eachMs) }));
  const rows = phases.map(({ name, eachMs, resticMs, faster }) => [
    name,
    `${entityCount} entities`,
    formatNumber((eachMs * entityCount) / 1000),
    formatNumber(eachMs),
    formatNumber(resticMs === undefined ? undefined : (resticMs * entityCount) / 1000),
    formatNumber(resticMs),
    Number.isNaN(faster) ? '-' : `${faster.toFixed(1)} (≥ ${warmBar} ${faster >= warmBar ? 'ok' : 'no'})`,
  ]);
  const headers = ['step', 'of', 'holdfast s', 'ms each', 'restic s', 'ms each', '× faster'];
  const notes = [
    `holdfast: one process, keys in memory, ${options.concurrency} backups at a time, ${ours.backupCount} measured after ${entityCount - ours.backupCount} that were not; peak RSS ${formatNumber(peakRssBytes / 1e6)} MB`,
    ...(sample === undefined
      ? []
      : [`restic: one process a backup, one after another; the median of ${sampleCount}, extrapolated to ${entityCount}`]),
  ];
  return { table: formatTable(headers, rows), notes, json: { ...results, concurrency: options.concurrency, phases, bar: warmBar } };
}
