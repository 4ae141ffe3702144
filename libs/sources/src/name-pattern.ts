import { HoldfastError } from '@holdfast/errors/holdfast-error';

/**
 * One name's part of a pattern: `*` any characters, `?` any one, `[a-c]` and `[^a-c]` one of a set or none of it, `\` before
 * a character meant as it is. A character is a Unicode code point. Matching goes back to the last `*` only, so that no
 * pattern takes longer than its length times the name's.
 */
export type NamePattern = readonly Token[];

type Token =
  | { readonly kind: 'any-text' }
  | { readonly kind: 'any-one' }
  | { readonly kind: 'character'; readonly character: string }
  | { readonly kind: 'set'; readonly isNegated: boolean; readonly ranges: readonly (readonly [first: number, last: number])[] };

/** `whole` is the pattern that the name is part of, for the message. Errors: request_invalid. */
export function parseNamePattern(text: string, whole: string): NamePattern {
  const characters = Array.from(text);
  const tokens: Token[] = [];
  let at = 0;
  const malformed = (): HoldfastError => new HoldfastError('request_invalid', `exclude pattern cannot be read: ${JSON.stringify(whole)}`);
  const takeEscaped = (): string => {
    if (characters[at] === '\\') at += 1;
    const character = characters[at];
    if (character === undefined) throw malformed();
    at += 1;
    return character;
  };
  const takeSetMember = (): number => {
    if (characters[at] === '-' || characters[at] === ']') throw malformed();
    return takeEscaped().codePointAt(0) ?? 0;
  };
  while (at < characters.length) {
    if (characters[at] === '*') {
      at += 1;
      tokens.push({ kind: 'any-text' });
    } else if (characters[at] === '?') {
      at += 1;
      tokens.push({ kind: 'any-one' });
    } else if (characters[at] === '[') {
      at += 1;
      const isNegated = characters[at] === '^';
      if (isNegated) at += 1;
      const ranges: [number, number][] = [];
      do {
        const first = takeSetMember();
        const isRange = characters[at] === '-';
        if (isRange) at += 1;
        ranges.push([first, isRange ? takeSetMember() : first]);
      } while (characters[at] !== ']');
      at += 1;
      tokens.push({ kind: 'set', isNegated, ranges });
    } else {
      tokens.push({ kind: 'character', character: takeEscaped() });
    }
  }
  return tokens;
}

export function matchesName(pattern: NamePattern, name: string): boolean {
  const characters = Array.from(name);
  let [token, at] = [0, 0];
  /** Where to go on after the last `*` when the rest does not fit: one character further each time. */
  let retry: { token: number; at: number } | undefined;
  while (at < characters.length || token < pattern.length) {
    const next = pattern[token];
    const character = characters[at];
    if (next?.kind === 'any-text') {
      retry = { token, at };
      token += 1;
    } else if (next !== undefined && character !== undefined && matchesOne(next, character)) {
      token += 1;
      at += 1;
    } else if (retry !== undefined && retry.at < characters.length) {
      retry = { token: retry.token, at: retry.at + 1 };
      token = retry.token + 1;
      at = retry.at;
    } else {
      return false;
    }
  }
  return true;
}

function matchesOne(token: Exclude<Token, { kind: 'any-text' }>, character: string): boolean {
  if (token.kind === 'any-one') return true;
  if (token.kind === 'character') return token.character === character;
  const point = character.codePointAt(0) ?? 0;
  return token.ranges.some(([first, last]) => first <= point && point <= last) !== token.isNegated;
}
