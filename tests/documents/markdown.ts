/** What the tests of the documents read out of markdown. Code blocks are left out where links and headings are looked for. */

/** Targets of links and images, with the fragment. */
export function linksIn(markdown: string): string[] {
  return [...withoutCode(markdown).matchAll(/\]\(([^)\s]+)\)/g)].map((match) => match[1] ?? '');
}

/** The anchors of its headings, as GitHub makes them. */
export function anchorsIn(markdown: string): string[] {
  return [...withoutCodeBlocks(markdown).matchAll(/^#{1,6} +(.+)$/gm)].map((match) =>
    (match[1] ?? '')
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N} _-]/gu, '')
      .trim()
      .replaceAll(' ', '-'),
  );
}

/** Names of the npm scripts that it tells the reader to run: `npm test`, `npm start`, `npm run check`. */
export function npmScriptsIn(markdown: string): string[] {
  return [...markdown.matchAll(/\bnpm (?:run ([\w:-]+)|(start|test))\b/g)].map((match) => match[1] ?? match[2] ?? '');
}

/** The words of the holdfast command that it shows, after `npm run holdfast --`, `holdfast` in code, or in a container. */
export function holdfastWordsIn(markdown: string): string[] {
  return [...markdown.matchAll(/(?:npm run holdfast -- |`holdfast |exec api holdfast |^holdfast )([a-z][a-z-]*)/gm)].map(
    (match) => match[1] ?? '',
  );
}

/** Rows of the first table whose header begins with `firstHeader`: cells without backticks. */
export function tableRows(markdown: string, firstHeader: string): string[][] {
  const lines = markdown.split('\n');
  const start = lines.findIndex((line) => line.startsWith(`| ${firstHeader} |`));
  if (start < 0) return [];
  const rest = lines.slice(start + 2);
  const end = rest.findIndex((line) => !line.startsWith('|'));
  return rest.slice(0, end < 0 ? undefined : end).map((line) =>
    line
      .slice(1, -1)
      .split('|')
      .map((cell) => cell.replaceAll('`', '').trim()),
  );
}

/** Settings of a .env file with their values; one that is commented out (`# NAME=value`) counts as well. */
export function settingsIn(envFile: string): [string, string][] {
  return [...envFile.matchAll(/^#? ?([A-Z][A-Z0-9_]+)=(.*)$/gm)].map((match) => [
    match[1] ?? '',
    (match[2] ?? '').replaceAll(/^"|"$/g, ''),
  ]);
}

function withoutCodeBlocks(markdown: string): string {
  return markdown.replaceAll(/^```[\s\S]*?^```/gm, '');
}

function withoutCode(markdown: string): string {
  return withoutCodeBlocks(markdown).replaceAll(/`[^`\n]*`/g, '');
}
