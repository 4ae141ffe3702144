// Documents that can be wrong are held against what they tell of.
import { existsSync, globSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { buildProgram } from '../apps/cli/src/program.ts';
import { errorDocument } from './documents/error-document.ts';
import { anchorsIn, holdfastWordsIn, linksIn, npmScriptsIn, settingsIn, tableRows } from './documents/markdown.ts';

const root = join(import.meta.dirname, '..');
const read = (path: string): string => readFileSync(join(root, path), 'utf8');
const documents = ['README.md', ...globSync('docs/**/*.md', { cwd: root }).toSorted()];

describe.each(documents)('%s', (path) => {
  test('links to what is there', () => {
    const dead = linksIn(read(path)).filter((link) => !/^[a-z]+:/.test(link) && !resolves(path, link));
    expect(dead).toEqual([]);
  });

  test('names npm scripts that exist', () => {
    const { scripts } = JSON.parse(read('package.json')) as { scripts: Record<string, string> };
    expect(npmScriptsIn(read(path)).filter((name) => scripts[name] === undefined)).toEqual([]);
  });

  test('names holdfast commands that exist', () => {
    const known = new Set(buildProgram({}, () => {}).commands.map((command) => command.name()));
    expect(holdfastWordsIn(read(path)).filter((word) => !known.has(word))).toEqual([]);
  });
});

function resolves(from: string, link: string): boolean {
  const [path = '', fragment] = link.split('#');
  const target = path === '' ? from : join(dirname(from), path);
  if (!existsSync(join(root, target))) return false;
  return fragment === undefined || anchorsIn(read(target)).includes(fragment);
}

test('docs/errors.md is made from the table in the code', async () => {
  await expect(errorDocument()).toMatchFileSnapshot('../docs/errors.md');
});

test('the settings table of the README is .env.example', () => {
  const settings = Object.fromEntries(settingsIn(read('.env.example')));
  expect(Object.keys(settings).length).toBeGreaterThan(5);
  const rows = tableRows(read('README.md'), 'setting').map(([name = '', value = '']) => [name, value]);
  expect(Object.fromEntries(rows)).toEqual(settings);
});

test('the layout of docs/architecture.md names every package', () => {
  const text = read('docs/architecture.md');
  const folders = globSync('{apps,libs,tools}/*/package.json', { cwd: root }).map((path) => `${dirname(path)}/`);
  expect(folders.filter((folder) => !text.includes(`\n${folder} `))).toEqual([]);
});

test('every decision is one page: a title, a question, what was chosen and its price', () => {
  for (const path of globSync('docs/decisions/*.md', { cwd: root })) {
    const text = read(path);
    expect(text, path).toMatch(/^# .+\n\n/);
    expect(text, path).toContain('**Chosen.**');
    expect(text, path).toContain('**Price.**');
    expect(text.split('\n').length, path).toBeLessThan(60);
  }
});

describe('the readers of documents see', () => {
  const markdown = [
    '# A title: with `code`!',
    'See [there](docs/a.md#b) and `[not](this.md)`; run `npm run check`, npm test, `holdfast up` or npm run holdfast -- token.',
    '```',
    '[nor](that.md)',
    '```',
    '| setting | default |',
    '|---|---|',
    '| `A_B` | 1 |',
    '',
  ].join('\n');

  test('links, anchors, scripts, commands and tables', () => {
    expect(linksIn(markdown)).toEqual(['docs/a.md#b']);
    expect(anchorsIn(markdown)).toEqual(['a-title-with-code']);
    expect(npmScriptsIn(markdown)).toEqual(['check', 'test', 'holdfast']);
    expect(holdfastWordsIn(markdown)).toEqual(['up', 'token']);
    expect(tableRows(markdown, 'setting')).toEqual([['A_B', '1']]);
    expect(tableRows(markdown, 'other')).toEqual([]);
  });

  test('settings, commented out or not', () => {
    expect(settingsIn('# Words.\nA_B=1\n# C_D="0 3 * * *"\n#E_F=\n')).toEqual([
      ['A_B', '1'],
      ['C_D', '0 3 * * *'],
      ['E_F', ''],
    ]);
  });
});
