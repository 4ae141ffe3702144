import { posix } from 'node:path';
import { isHoldfastError } from '@holdfast/errors/holdfast-error';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Source, SourceNode } from '../source.ts';
import { pathToBytes } from '../system-path.ts';

/** The promises of source.ts as tests. The source must hold at least one file that is not empty, and nothing may change it meanwhile. */
export interface SourceFixture {
  readonly source: Source;
  dispose(): Promise<void>;
}

export function describeSourceContract(kind: string, open: () => Promise<SourceFixture>): void {
  describe(`source contract: ${kind}`, () => {
    let fixture: SourceFixture;
    let source: Source;
    let nodes: Map<string, SourceNode>;
    beforeAll(async () => {
      fixture = await open();
      source = fixture.source;
      nodes = await walk(source);
    });
    afterAll(async () => {
      await source.close();
      await source.close();
      await fixture.dispose();
    });

    it('leads from the top to each of its paths, which are sorted', () => {
      expect(source.paths.length).toBeGreaterThan(0);
      for (const path of source.paths) expect(path === '/' || nodes.has(path)).toBe(true);
      expect(source.paths).toEqual(source.paths.toSorted(compareBytes));
    });

    it('lists each name once, sorted by bytes', async () => {
      for (const path of ['/', ...folderPaths(nodes)]) {
        const names = namesIn(await source.readDirectory(path));
        expect(names).toEqual([...new Set(names)].toSorted(compareBytes));
      }
    });

    it('gives names and values that a tree can hold', () => {
      for (const node of nodes.values()) {
        expect(node.name).not.toMatch(/^(?:|\.|\.\.)$|[/\0]/);
        expect(node.mode & ~0o7777).toBe(0);
        expect(Number.isSafeInteger(node.sizeBytes) && node.sizeBytes >= 0).toBe(true);
        expect(node.type === 'file' || node.sizeBytes === 0).toBe(true);
        expect(node.linkTarget !== undefined).toBe(node.type === 'symlink');
      }
    });

    it('reads every file to its size, at any position', async () => {
      const files = [...nodes].filter(([, node]) => node.type === 'file');
      expect(files.some(([, node]) => node.sizeBytes > 0)).toBe(true);
      for (const [path, node] of files) {
        const whole = await readWhole(source, path, node.sizeBytes);
        expect(whole.byteLength).toBe(node.sizeBytes);
        const middle = Math.floor(node.sizeBytes / 2);
        expect(Buffer.compare(await readFrom(source, path, middle), whole.subarray(middle))).toBe(0);
      }
    });

    it('tells what is not there by its code', async () => {
      const isMissing = (error: unknown): boolean => isHoldfastError(error, 'path_not_found');
      const below = posix.join(source.paths[0] ?? '/', 'no such thing');
      await expect(source.readDirectory(below)).rejects.toSatisfy(isMissing);
      await expect(source.openFile(below)).rejects.toSatisfy(isMissing);
      for (const path of ['/no such thing', posix.join(below, 'deeper')]) {
        await expect(source.readDirectory(path)).rejects.toSatisfy(isMissing);
        await expect(source.openFile(path)).rejects.toSatisfy(isMissing);
      }
    });

    it('estimates what is there', async () => {
      if (source.estimate === undefined) return;
      const files = [...nodes.values()].filter(({ type }) => type === 'file');
      const bytes = files.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
      expect(await source.estimate()).toEqual({ files: files.length, bytes });
      await expect(source.estimate({ signal: AbortSignal.abort(new Error('stop')) })).rejects.toThrow('stop');
    });

    it('lists nothing for a signal that is aborted', async () => {
      await expect(source.readDirectory('/', { signal: AbortSignal.abort(new Error('stop')) })).rejects.toThrow('stop');
    });
  });
}

/** Every node of a source by its path; what is skipped is not there. */
export async function walk(source: Source): Promise<Map<string, SourceNode>> {
  const nodes = new Map<string, SourceNode>();
  const visit = async (path: string): Promise<void> => {
    for (const entry of await source.readDirectory(path)) {
      if (entry.kind === 'skipped') continue;
      const at = posix.join(path, entry.node.name);
      nodes.set(at, entry.node);
      if (entry.node.type === 'dir') await visit(at);
    }
  };
  await visit('/');
  return nodes;
}

/** The bytes of a file of a source. `sizeBytes` only says how much to ask for at a time. */
export async function readWhole(source: Source, path: string, sizeBytes: number): Promise<Uint8Array> {
  return readFrom(source, path, 0, Math.max(sizeBytes, 1));
}

async function readFrom(source: Source, path: string, positionBytes: number, pieceSizeBytes = 100_000): Promise<Uint8Array> {
  const file = await source.openFile(path);
  const pieces: Uint8Array[] = [];
  try {
    for (let at = positionBytes; ;) {
      const piece = new Uint8Array(pieceSizeBytes);
      const readBytes = await file.read(piece, at);
      if (readBytes === 0) return Buffer.concat(pieces);
      pieces.push(piece.subarray(0, readBytes));
      at += readBytes;
    }
  } finally {
    await file.close();
  }
}

function folderPaths(nodes: ReadonlyMap<string, SourceNode>): string[] {
  return [...nodes].filter(([, node]) => node.type === 'dir').map(([path]) => path);
}

function namesIn(entries: Awaited<ReturnType<Source['readDirectory']>>): string[] {
  return entries.flatMap((entry) => (entry.kind === 'node' ? [entry.node.name] : []));
}

function compareBytes(a: string, b: string): number {
  return Buffer.compare(pathToBytes(a), pathToBytes(b));
}
