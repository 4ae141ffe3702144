import { expect, it } from 'vitest';
import { createArenaChunker, openArena } from './arena.ts';
import { createChunker, randomPolynomial } from './chunker.ts';
import { repeatableBytes } from './testing/repeatable-bytes.ts';

it('cuts where a chunker cuts', () => {
  const polynomial = randomPolynomial(repeatableBytes(7));
  const bytes = repeatableBytes(3)(12_000_000);
  const arena = openArena(bytes.length);
  arena.memory.set(bytes, arena.firstAddress);
  const [chunker, inPlace] = [createChunker(polynomial), createArenaChunker(arena, polynomial)];
  const cuts: number[] = [];
  for (let start = 0; start < bytes.length; start += cuts.at(-1) ?? 0) {
    const length = chunker.cut(bytes, start, bytes.length, true);
    expect(inPlace.cut(arena.firstAddress + start, arena.firstAddress + bytes.length, true)).toBe(length);
    cuts.push(length);
  }
  expect(cuts.length).toBeGreaterThan(3);
  expect(inPlace.cut(arena.firstAddress, arena.firstAddress + 600_000, false)).toBe(chunker.cut(bytes, 0, 600_000, false));
  expect(inPlace.cut(arena.firstAddress, arena.firstAddress, true)).toBe(0);
});
