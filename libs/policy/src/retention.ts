/**
 * Retention: which backups stay. A config keeps what is younger than its retentionDays, and its newest backup for ever, so that a
 * config whose backups have stopped (a broken source, a deleted config) does not lose the last thing there is to recover.
 */
export interface RetainedSnapshot {
  readonly id: string;
  readonly configId: string;
  readonly time: Date;
  /** False for one that no completed run stands for; it never counts as the config's newest. Default true. */
  readonly completed?: boolean;
}

export interface RetentionRule {
  /** Whole days of 24 hours. */
  readonly retentionDays: number;
  readonly now: Date;
}

const dayMs = 24 * 3600 * 1000;

/** The ids to keep, all snapshots under one rule. One whose age is just retentionDays is kept; one from the future as well. */
export function selectKept(snapshots: readonly RetainedSnapshot[], rule: RetentionRule): Set<string> {
  const oldestKeptMs = rule.now.getTime() - rule.retentionDays * dayMs;
  const kept = new Set(snapshots.filter((snapshot) => snapshot.time.getTime() >= oldestKeptMs).map((snapshot) => snapshot.id));
  for (const newest of newestOfEachConfig(snapshots)) kept.add(newest.id);
  return kept;
}

/** The ids to keep when each config has its own rule. A snapshot of a config that `retentionDaysOf` does not know is kept. */
export function selectKeptByConfig(
  snapshots: readonly RetainedSnapshot[],
  retentionDaysOf: ReadonlyMap<string, number>,
  now: Date,
): Set<string> {
  const kept = new Set<string>();
  for (const [configId, ofConfig] of Map.groupBy(snapshots, (snapshot) => snapshot.configId)) {
    const retentionDays = retentionDaysOf.get(configId);
    const keptOfConfig =
      retentionDays === undefined ? ofConfig.map((snapshot) => snapshot.id) : selectKept(ofConfig, { retentionDays, now });
    for (const id of keptOfConfig) kept.add(id);
  }
  return kept;
}

function newestOfEachConfig(snapshots: readonly RetainedSnapshot[]): RetainedSnapshot[] {
  const newest = new Map<string, RetainedSnapshot>();
  for (const snapshot of snapshots) {
    if (snapshot.completed === false) continue;
    const former = newest.get(snapshot.configId);
    if (former === undefined || snapshot.time.getTime() > former.time.getTime()) newest.set(snapshot.configId, snapshot);
  }
  return [...newest.values()];
}
