/**
 * JSON text as Go's encoding/json writes it: no spaces, fields in the order of the struct, and `<`, `>`, `&`, U+2028, U+2029 escaped
 * so that the text can stand in HTML. The format asks for it because the hash of the text is the id of a tree.
 */
const plainText = /^[ !#-%'-;=?-[\]-~]*$/;
const escaped = /["\\<>&\u2028\u2029]|(?![\u007f-\u009f])\p{Control}|\p{Surrogate}/gu;

const shortEscapes: Readonly<Record<string, string>> = {
  '"': '\\"',
  '\\': '\\\\',
  '\b': '\\b',
  '\f': '\\f',
  '\n': '\\n',
  '\r': '\\r',
  '\t': '\\t',
};

/** A string with its quotes. A lone surrogate stands for a byte that is not UTF-8, which Go writes as the escape of U+FFFD. */
export function encodeGoString(text: string): string {
  if (plainText.test(text)) return `"${text}"`;
  return `"${text.replace(escaped, escapeCharacter)}"`;
}

function escapeCharacter(character: string): string {
  const code = character.charCodeAt(0);
  if (code >= 0xd800 && code <= 0xdfff) return String.raw`\ufffd`;
  return shortEscapes[character] ?? String.raw`\u${code.toString(16).padStart(4, '0')}`;
}

/** Plain objects (fields in their order, undefined ones left out), arrays, strings, integers, bigints, booleans and null. */
export function encodeGoJson(value: unknown): string {
  if (typeof value === 'string') return encodeGoString(value);
  if (typeof value === 'bigint') return value.toString();
  if (Array.isArray(value)) return `[${value.map(encodeGoJson).join(',')}]`;
  if (typeof value !== 'object' || value === null) return JSON.stringify(value);
  const fields = Object.entries(value).filter(([, field]) => field !== undefined);
  return `{${fields.map(([name, field]) => `${encodeGoString(name)}:${encodeGoJson(field)}`).join(',')}}`;
}
