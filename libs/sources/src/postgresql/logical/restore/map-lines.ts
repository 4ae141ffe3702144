/** Roles and tablespaces of a server are some lines each; more than this is none of ours. */
const maxLineLength = 1024 * 1024;

/** A script with each line as `change` gives it; left out where that is null. */
export async function* mapLines(
  script: AsyncIterable<Uint8Array>,
  change: (line: string) => string | null,
): AsyncGenerator<Uint8Array, void, undefined> {
  let rest = '';
  const decoder = new TextDecoder();
  for await (const part of script) {
    const lines = (rest + decoder.decode(part, { stream: true })).split('\n');
    rest = (lines.pop() ?? '').slice(0, maxLineLength);
    const kept = lines.flatMap((line) => change(line) ?? []);
    if (kept.length > 0) yield Buffer.from(`${kept.join('\n')}\n`);
  }
  const last = rest === '' ? null : change(rest);
  if (last !== null) yield Buffer.from(last);
}
