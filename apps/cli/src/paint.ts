import { styleText } from 'node:util';

type Style = Parameters<typeof styleText>[0];

/** Colours a text for a terminal. A pipe gets none, and NO_COLOR (any text but the empty one) turns colours off. */
export function paint(style: Style, text: string, stream: { readonly isTTY?: boolean }, environment = process.env): string {
  const noColor = environment['NO_COLOR'];
  if (stream.isTTY !== true || (noColor !== undefined && noColor !== '')) return text;
  return styleText(style, text, { validateStream: false });
}
