import { openMemoryStorage } from '@holdfast/storage/memory-storage';
import { packName } from '@holdfast/restic-format/layout';
import { describe, expect, it } from 'vitest';
import { loadIndex } from '../load-index.ts';
import { archiveTree, createTestRepository, noise } from '../testing/test-repository.ts';
import { blobsOfRange } from './file-content.ts';
import { readPieces, type ReadPiece } from './read-plan.ts';
import { openThreadSession } from './read-thread.ts';
import { createBlobLoader } from '../blob-loader.ts';

const bytes = noise(20_000_000, 4);
// The same blob several times, one after the other and again later.
const file = Buffer.concat([bytes, bytes.subarray(0, 9_000_000), bytes.subarray(0, 9_000_000)]);

async function piecesOfFile() {
  const storage = openMemoryStorage();
  const repository = await createTestRepository(storage);
  const { treeId } = await archiveTree(repository, { file: { type: 'file', bytes: file } });
  const { index } = await loadIndex(repository);
  const [node] = await createBlobLoader(repository, index).loadTree(treeId);
  const content = { content: node?.content ?? [], sizeBytes: file.length };
  const piecesOf = (offsetBytes: number, lengthBytes: number): ReadPiece[] => [
    ...readPieces(index, blobsOfRange(index, content, { offsetBytes, lengthBytes })),
  ];
  const session = await openThreadSession(
    { masterKeys: repository.masterKeys, storage: null },
    { threadNumber: 0, throwIfAborted: () => {}, emit: () => {} },
  );
  const read = async (piece: ReadPiece): Promise<Uint8Array> => {
    const brought = await Promise.all(
      piece.stretches.map(async ({ packId, startBytes, sealedBytes }) => {
        const sealed = await storage.get(packName(packId), { range: { offsetBytes: startBytes, lengthBytes: sealedBytes } });
        const shared = new Uint8Array(new SharedArrayBuffer(sealed.length));
        shared.set(sealed);
        return shared;
      }),
    );
    const { output } = await session.handle({ ...piece, brought });
    if (!(output instanceof Uint8Array)) throw new Error('a piece is no array of bytes');
    return output;
  };
  return { piecesOf, read, session };
}

describe('pieces of a file', () => {
  it('are read in few stretches, in the order of the file', async () => {
    const { piecesOf, read } = await piecesOfFile();
    for (const [offset, length] of [
      [0, file.length],
      [1_234_567, 20_000_001],
      [19_999_999, 2],
    ] as const) {
      const pieces = piecesOf(offset, length);
      const found = Buffer.concat(await Promise.all(pieces.map(read)));
      expect(found.equals(file.subarray(offset, offset + length))).toBe(true);
      const blobCount = pieces.reduce((sum, { stretches }) => sum + stretches.reduce((all, { parts }) => all + parts.length / 4, 0), 0);
      const stretchCount = pieces.reduce((sum, { stretches }) => sum + stretches.length, 0);
      if (length === file.length) expect(stretchCount).toBeLessThan(blobCount);
      for (const { plainBytes } of pieces) expect(plainBytes).toBeLessThanOrEqual(8 * 1024 * 1024);
    }
  });

  it('are refused when a blob is not whole', async () => {
    const { piecesOf, session } = await piecesOfFile();
    const [piece] = piecesOf(0, 1);
    if (piece === undefined) throw new Error('there is no piece');
    const brought = piece.stretches.map(({ sealedBytes }) => new Uint8Array(new SharedArrayBuffer(sealedBytes)));
    expect(() => session.handle({ ...piece, brought })).toThrow('sealed bytes do not match their MAC');
  });
});
