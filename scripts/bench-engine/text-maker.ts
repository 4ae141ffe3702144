import { RandomStream, createNoise } from './random-stream.ts';

/** What a file of the bench holds. */
export type ContentKind = 'source' | 'mail' | 'sql' | 'noise';

/** Appends whole lines of one kind until `into` has no room for another, and returns how many bytes that gave. */
export type LineMaker = (into: Buffer) => number;

/** No line is longer, so that one more fits while this much room is left. */
export const maxLineBytes = 512;

const wordCount = 4096;
const vocabulary = makeVocabulary();

/** The lines of a text. The share of rare words, numbers and hashes makes SQL shrink to about a third, source text to a fourth. */
export function createLineMaker(kind: Exclude<ContentKind, 'noise'>, seed: string): LineMaker {
  const random = new RandomStream(seed);
  const lineOf = { source: sourceLine, mail: mailLine, sql: sqlLine }[kind];
  let lineNumber = random.below(1_000_000);
  return (into) => {
    let at = 0;
    while (into.length - at >= maxLineBytes) at += into.write(lineOf(random, lineNumber++), at, 'latin1');
    return at;
  };
}

/** Exactly `sizeBytes` of a kind, handed out in pieces that the caller must use up before it takes the next. */
export function* makeContent(kind: ContentKind, seed: string, sizeBytes: number): Generator<Buffer> {
  const buffer = Buffer.allocUnsafe(Math.min(pieceBytes, sizeBytes + maxLineBytes));
  const fill = kind === 'noise' ? fillWhole(createNoise(seed)) : createLineMaker(kind, seed);
  for (let leftBytes = sizeBytes; leftBytes > 0;) {
    const piece = buffer.subarray(0, Math.min(fill(buffer), leftBytes));
    yield piece;
    leftBytes -= piece.length;
  }
}

const pieceBytes = 1024 * 1024;

function fillWhole(noise: (into: Buffer) => void): LineMaker {
  return (into) => {
    noise(into);
    return into.length;
  };
}

function makeVocabulary(): string[] {
  const random = new RandomStream('words');
  const syllables = 'ba ce di fo gu ha je ki lo mu na pe qui ro su ta ve wi xo ya zu st er in ab'.split(' ');
  return Array.from({ length: wordCount }, () =>
    Array.from({ length: 1 + random.below(4) }, () => syllables[random.below(syllables.length)]).join(''),
  );
}

/** Few words are frequent and many are rare, as in what people write. */
function word(random: RandomStream): string {
  return vocabulary[Math.floor(random.fraction() ** 3 * wordCount)] ?? '';
}

function words(random: RandomStream, count: number): string {
  let text = word(random);
  for (let nth = 1; nth < count; nth++) text += ` ${word(random)}`;
  return text;
}

function hex(random: RandomStream): string {
  return random.next().toString(16).padStart(8, '0');
}

function sourceLine(random: RandomStream): string {
  const indent = '  '.repeat(random.below(4));
  switch (random.below(8)) {
    case 0:
      return `${indent}// ${words(random, 3 + random.below(9))}.\n`;
    case 1:
      return `${indent}if (${word(random)}.${word(random)} === ${word(random)}(${random.below(100)})) {\n`;
    case 2:
      return `${indent}}\n`;
    case 3:
      return `${indent}return ${word(random)}(${word(random)}, '${words(random, 2)}');\n`;
    case 4:
      return '\n';
    default:
      return `${indent}const ${word(random)} = ${word(random)}.${word(random)}(${word(random)}, ${word(random)});\n`;
  }
}

/** Text, with an attachment in base64 here and there. */
function mailLine(random: RandomStream, lineNumber: number): string {
  if (lineNumber % 64 === 0) return `\nFrom: ${word(random)}@${word(random)}.example\nMessage-ID: <${hex(random)}.${hex(random)}>\n\n`;
  if (lineNumber % 64 < 20) return `${Buffer.from(hex(random) + hex(random) + hex(random) + hex(random), 'hex').toString('base64')}\n`;
  return `${words(random, 6 + random.below(6))}\n`;
}

function sqlLine(random: RandomStream, lineNumber: number): string {
  const name = `${word(random)} ${word(random)}`;
  const day = `2026-${two(1 + random.below(12))}-${two(1 + random.below(28))}`;
  const time = `${two(random.below(24))}:${two(random.below(60))}:${two(random.below(60))}`;
  const amount = (random.below(1_000_000) / 100).toFixed(2);
  const remark = words(random, 4 + random.below(12));
  return `INSERT INTO orders VALUES (${lineNumber},'${name}','${day} ${time}',${amount},'${hex(random)}','${remark}');\n`;
}

function two(value: number): string {
  return String(value).padStart(2, '0');
}
