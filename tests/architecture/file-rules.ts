/** Rules about one file: its name, its length and the form of its exports. Each answers sentences, one for each violation. */
import { parseModule } from './parse-module.ts';
import type { SourceText } from './read-workspace.ts';

/** Nine files in ten are far shorter; above this a reader deserves to know why. */
export const maxFileLines = 400;

/** Names that say nothing about what is inside, singular and plural. */
const emptyWords = new Set([
  'util',
  'utils',
  'helper',
  'helpers',
  'common',
  'shared',
  'manager',
  'managers',
  'handler',
  'handlers',
  'impl',
]);
const emptyFileNames = new Set(['index', 'types']);

/** Files that their tool only reads through a default export, and declarations of foreign modules. */
function mayDefaultExport(path: string): boolean {
  return /(\.config|\.d)\.ts$/.test(path);
}

export function fileViolations(file: SourceText): string[] {
  const violations = [...nameViolations(file.path), ...lengthViolations(file)];
  if (file.path.endsWith('.as.ts')) return violations;
  const module = parseModule(file.text);
  if (module.isBarrel) violations.push(`${file.path} is a barrel: it only re-exports`);
  if (module.hasDefaultExport && !mayDefaultExport(file.path)) violations.push(`${file.path} has a default export`);
  for (const name of module.exportedNames) {
    const lastWord =
      name
        .split(/(?=[A-Z])/)
        .at(-1)
        ?.toLowerCase() ?? '';
    if (emptyWords.has(lastWord)) violations.push(`${file.path} exports a name that says nothing: ${name}`);
  }
  return violations;
}

function nameViolations(path: string): string[] {
  const parts = path.split('/');
  const fileName = parts.at(-1)?.split('.')[0] ?? '';
  const violations: string[] = [];
  const word = parts.flatMap((part) => part.split(/[-.]/)).find((part) => emptyWords.has(part.toLowerCase()));
  if (word !== undefined) violations.push(`${path} has a name that says nothing: ${word}`);
  if (emptyFileNames.has(fileName)) violations.push(`${path} has a name that says nothing: ${fileName}`);
  if (!/^[a-z0-9]+(-[a-z0-9]+)*(\.[a-z0-9]+)+$/.test(parts.at(-1) ?? '')) violations.push(`${path} is not in kebab-case`);
  return violations;
}

/** A longer file says why in the comment at its head, in a sentence that begins with "Long because". */
function lengthViolations(file: SourceText): string[] {
  const lineCount = file.text.split('\n').length - 1;
  const head = /^(?:#!.*\n)?\s*(\/\*[\s\S]*?\*\/|(?:\/\/.*\n)+)/.exec(file.text)?.[1] ?? '';
  if (lineCount <= maxFileLines || head.includes('Long because')) return [];
  return [`${file.path} has ${lineCount} lines and no sentence "Long because …" at its head`];
}
