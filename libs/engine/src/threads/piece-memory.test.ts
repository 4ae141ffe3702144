import { randomBytes } from 'node:crypto';
import { expect, test } from 'vitest';
import { giveBackPieces, PieceMemory, pieceBytes, PieceWriter } from './piece-memory.ts';

test('bytes lie one behind the other, over the borders of pieces', () => {
  const writer = new PieceWriter(new PieceMemory());
  const bytes = [1, pieceBytes - 1, 0, 5, 2 * pieceBytes].map((sizeBytes) => randomBytes(sizeBytes));
  for (const part of bytes) writer.append(part);
  const { parts } = writer.take();
  expect(Buffer.concat(parts).equals(Buffer.concat(bytes))).toBe(true);
  expect(parts.map(({ byteLength }) => byteLength)).toEqual([pieceBytes, pieceBytes, pieceBytes, 5]);
});

test('pieces are filled again when they were given back, and not before', () => {
  const memory = new PieceMemory();
  const written = (): ReturnType<PieceWriter['take']> => {
    const writer = new PieceWriter(memory);
    writer.append(randomBytes(pieceBytes + 1));
    return writer.take();
  };
  const [first, second] = [written(), written()];
  expect([...first.numbers, ...second.numbers]).toEqual([0, 1, 2, 3]);
  const kept = Buffer.concat(second.parts);
  giveBackPieces(first);
  const third = written();
  expect(third.numbers).toEqual([0, 1]);
  expect(third.parts[0]?.buffer).toBe(first.parts[0]?.buffer);
  expect(Buffer.concat(second.parts).equals(kept)).toBe(true);
});
