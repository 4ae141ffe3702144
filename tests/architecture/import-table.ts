/**
 * Who may import whom, inside the workspace. The table in docs/architecture.md says the same, and a test holds the two equal.
 *
 * - `engine` stands for every public module of that package, `policy/retention` for that one module, `sources/testing/*` for a folder.
 * - `testsMay` is what tests and testing folders may import besides; they also may import every module below a `testing/` folder of a
 *   package that they may import.
 */
export interface ImportRule {
  readonly may: readonly string[];
  readonly testsMay?: readonly string[];
}

const libraries = ['errors', 'restic-format', 'storage', 'sources', 'policy', 'jobs', 'database', 'settings', 'engine'] as const;

export const importTable: Readonly<Record<string, ImportRule>> = {
  errors: { may: [] },
  'restic-format': { may: ['errors'] },
  storage: { may: ['errors'] },
  sources: { may: ['errors'] },
  policy: { may: ['errors', 'sources/postgresql/lsn'] },
  jobs: { may: ['errors'] },
  database: { may: ['errors', 'policy/routing'] },
  settings: { may: ['errors'] },
  engine: {
    may: [
      'errors',
      'restic-format',
      'storage',
      'sources/source',
      'sources/target',
      'sources/path-pattern',
      'sources/thread-folder',
      'sources/extended-attributes',
      'sources/file-holes',
      'sources/file-system-error',
      'sources/thread-target',
      'sources/target-writer',
      'sources/partial-entry',
      'sources/remove-entries',
      'sources/tried-folder',
      'sources/exclude-patterns',
      'sources/snapshot-path',
      'sources/verified-folder',
      'sources/folder-record',
      'sources/folder-comparison',
      'sources/stat-words',
      'sources/system-path',
      'policy/retention',
    ],
    testsMay: ['sources'],
  },
  api: {
    may: [
      'errors',
      'policy',
      'jobs',
      'database',
      'settings',
      'sources/source-options',
      'sources/source-options/*',
      'sources/glob-pattern',
      'sources/recovery-options',
      'sources/allowed-roots',
      'sources/postgresql/connection-options',
      'sources/postgresql/lsn',
      'sources/mysql/connection-options',
      'sources/redis/connection-options',
      'storage/storage-options',
    ],
  },
  worker: { may: ['errors', 'policy', 'storage', 'sources', 'engine', 'jobs', 'database', 'settings'] },
  cli: { may: [...libraries, 'api', 'worker'] },
  e2e: { may: [...libraries, 'api', 'worker', 'cli'] },
};

/** True when `target` (`package/module`, no ending) is covered by one of `patterns`. */
function isCovered(patterns: readonly string[], target: string): boolean {
  return patterns.some((pattern) => {
    if (pattern.endsWith('/*')) return target.startsWith(pattern.slice(0, -1));
    return target === pattern || (!pattern.includes('/') && target.startsWith(`${pattern}/`));
  });
}

/** Whether `from` may import `target` (`package/module`). Tests are files that never run in production. */
export function mayImport(table: Readonly<Record<string, ImportRule>>, from: string, target: string, inTest: boolean): boolean {
  const rule = table[from];
  if (rule === undefined) return false;
  const inTestingFolder = target.split('/').slice(1, -1).includes('testing');
  if (!inTest) return !inTestingFolder && isCovered(rule.may, target);
  if (isCovered([...rule.may, ...(rule.testsMay ?? [])], target)) return true;
  return inTestingFolder && mayDependOn(table, from, packageOf(target));
}

/** Whether `from` may name the package `target` in its package.json. */
export function mayDependOn(table: Readonly<Record<string, ImportRule>>, from: string, target: string): boolean {
  const rule = table[from];
  return rule !== undefined && [...rule.may, ...(rule.testsMay ?? [])].some((pattern) => packageOf(pattern) === target);
}

function packageOf(target: string): string {
  return target.split('/')[0] ?? target;
}

/** The rows of the markdown table that follows the heading "Who may import whom", as [package, sorted imports]. */
export function tableInMarkdown(markdown: string): [string, string[]][] {
  const section = markdown.split(/^## /m).find((part) => part.startsWith('Who may import whom')) ?? '';
  return section
    .split('\n')
    .filter((line) => line.startsWith('|'))
    .slice(2)
    .map((line) => {
      const [name = '', imports = ''] = line.split('|').slice(1, 3);
      return [
        plain(name),
        plain(imports)
          .split(/,\s*/)
          .filter((item) => item !== 'nothing')
          .toSorted(),
      ];
    });
}

/** The same rows, from the table in this file. */
export function tableInCode(table: Readonly<Record<string, ImportRule>>): [string, string[]][] {
  return Object.entries(table).map(([name, rule]) => {
    const inTests = (rule.testsMay ?? []).map((pattern) => `${pattern} (tests)`);
    return [name, [...rule.may, ...inTests].toSorted()];
  });
}

function plain(cell: string): string {
  return cell.replaceAll('`', '').trim();
}
