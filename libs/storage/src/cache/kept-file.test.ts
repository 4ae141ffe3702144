import { createHash, randomBytes } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isKeptPath, keptPath, nameOfKept, openKept, packFolder, sealKept } from './kept-file.ts';

const id = 'ab'.repeat(32);
const pack = `data/ab/${id}`;

describe('what a cache keeps', () => {
  it('is index files, snapshots and ranges of packs, and no keys, locks or configs', () => {
    expect(keptPath(`index/${id}`)).toBe(`index/${id}`);
    expect(keptPath(`snapshots/${id}`)).toBe(`snapshots/${id}`);
    expect(keptPath(pack, { offsetBytes: 0, lengthBytes: 1_048_576 })).toBe(`data/${id}/0.1048576`);
    for (const name of ['config', `keys/${id}`, `locks/${id}`, pack, 'index/ab', `index/${id.toUpperCase()}`]) {
      expect(keptPath(name)).toBeNull();
    }
    expect(keptPath(`index/${id}`, { offsetBytes: 0, lengthBytes: 1 })).toBeNull();
    expect(packFolder(pack)).toBe(`data/${id}`);
    expect(nameOfKept('data', id)).toBe(pack);
    expect(isKeptPath(`data/${id}/0.12`)).toBe(true);
    expect(isKeptPath(`data/${id}/../../../etc/passwd`)).toBe(false);
    expect(isKeptPath(`notes/${id}`)).toBe(false);
  });

  it('does not keep an object that is not what its name says', () => {
    expect(sealKept(`index/${id}`, Buffer.from('another'))).toBeNull();
  });
});

describe('a kept file', () => {
  const cases = (bytes: Uint8Array): string[] => {
    return [`snapshots/${createHash('sha256').update(bytes).digest('hex')}`, `data/${id}/1048576.${String(bytes.length)}`];
  };

  it('gives back what was kept, and nothing when a bit has flipped or its end is gone', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 0, maxLength: 300 }), fc.nat(), (bytes, at) => {
        for (const path of cases(bytes)) {
          const file = Buffer.concat(sealKept(path, bytes) ?? []);
          expect(Buffer.from(openKept(path, file) ?? 'nothing').equals(bytes)).toBe(true);
          if (file.length === 0) continue;
          const flipped = Buffer.from(file);
          flipped[(at >> 3) % file.length] = (flipped[(at >> 3) % file.length] ?? 0) ^ (1 << (at & 7));
          expect(openKept(path, flipped)).toBeNull();
          expect(openKept(path, file.subarray(0, at % file.length))).toBeNull();
          expect(openKept(path, Buffer.concat([file, Buffer.alloc(1)]))).toBeNull();
        }
      }),
    );
  });

  it('is of no use under another name', () => {
    const [one, other] = [randomBytes(100), randomBytes(100)];
    const sealed = Buffer.concat(sealKept(`data/${id}/0.100`, one) ?? []);
    expect(openKept(`data/${id}/100.100`, sealed)).toBeNull();
    expect(openKept(`data/${'cd'.repeat(32)}/0.100`, sealed)).toBeNull();
    expect(openKept(cases(other)[0] ?? '', one)).toBeNull();
  });
});
