import {
  appendFile,
  chmod,
  copyFile,
  link,
  mkdtemp,
  readFile,
  realpath,
  rename,
  rm,
  stat,
  truncate,
  utimes,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync, gzipSync, zstdCompressSync, zstdDecompressSync } from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, it, onTestFinished } from 'vitest';
import { decodeManifest, encodeManifest, type LogEntry } from './log-manifest.ts';
import { openLogsSource } from './logs-source.ts';
import type { PlannedSource } from './planned-source.ts';

/** A folder of logs, runs over it, and what they picked up: the bytes that each run says are new, as they lie on the disk then. */
class Watched {
  readonly folder: string;
  readonly picked = new Map<string, string>();
  entries: LogEntry[] | null = null;
  #runCount = 0;
  #lineCount = 0;

  constructor(folder: string) {
    this.folder = folder;
  }

  at(name: string): string {
    return join(this.folder, name);
  }

  /** Lines with numbers, which no other line has. */
  async write(name: string, lineCount = 1): Promise<void> {
    let text = '';
    for (let nth = 0; nth < lineCount; nth++) text += `2026-05-01T00:00:00Z line ${++this.#lineCount} of ${name.length} bytes of a name\n`;
    await appendFile(this.at(name), text);
  }

  async compress(name: string, pack = gzipSync, ending = 'gz'): Promise<void> {
    const { mtime } = await stat(this.at(name));
    await writeFile(this.at(`${name}.${ending}`), pack(await readFile(this.at(name))));
    await utimes(this.at(`${name}.${ending}`), mtime, mtime);
    await rm(this.at(name));
  }

  async run(options: { since?: string; until?: string; globs?: string[] } = {}): Promise<PlannedSource> {
    const startedAt = new Date(1_700_000_000_000 + ++this.#runCount * 1000);
    const source = await openLogsSource({
      globs: [`${this.folder}/**/*`],
      roots: [this.folder],
      before: this.entries,
      startedAt,
      signal: new AbortController().signal,
      ...options,
    });
    for (const { file, entry } of source.shown) {
      if (entry.state !== 'present' || entry.run !== startedAt.toISOString()) continue;
      const bytes = await readFile(file.path);
      const plain = entry.encoding === 'gzip' ? gunzipSync(bytes) : entry.encoding === 'zstd' ? zstdDecompressSync(bytes) : bytes;
      const text = plain.subarray(entry.fromByte, entry.toByte).toString();
      this.picked.set(entry.log, (this.picked.get(entry.log) ?? '') + text);
    }
    const manifest = encodeManifest(source.plan.entries);
    this.entries = decodeManifest(manifest);
    expect(encodeManifest(this.entries)).toEqual(manifest);
    return source;
  }

  /** That each line was picked up once, and those of a log in their order. */
  expectEachLineOnce(): void {
    const seen: number[] = [];
    for (const text of this.picked.values()) {
      const numbers = [...text.matchAll(/line (\d+) /gu)].map(([, number]) => Number(number));
      expect(numbers).toEqual(numbers.toSorted((a, b) => a - b));
      seen.push(...numbers);
    }
    expect(seen.toSorted((a, b) => a - b)).toEqual(Array.from({ length: this.#lineCount }, (_, nth) => nth + 1));
  }
}

async function watched(): Promise<Watched> {
  const folder = await realpath(await mkdtemp(join(tmpdir(), 'holdfast-logs-')));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  return new Watched(folder);
}

const statesOf = (source: PlannedSource): Record<string, string> =>
  Object.fromEntries(
    source.plan.entries.map(({ path, state, fromByte, toByte }) => [path.split('/').at(-1), `${state} ${fromByte}-${toByte}`]),
  );

describe('planLogs', () => {
  it('takes of a file that grew what is new, and of one that did not nothing', async () => {
    const logs = await watched();
    await logs.write('app.log', 3);
    await logs.run();
    const first = logs.entries;
    await logs.run();
    expect(logs.entries).toEqual(first);
    await logs.write('app.log', 100);
    const source = await logs.run();
    const sizeBytes = first?.[0]?.sizeBytes;
    expect(source.plan.logs[0]).toMatchObject({ continues: { path: logs.at('app.log'), sizeBytes }, entry: { fromByte: sizeBytes } });
    logs.expectEachLineOnce();
    expect(logs.picked.size).toBe(1);
  });

  it('follows a file that is rotated, through all its names', async () => {
    const logs = await watched();
    await logs.write('app.log', 50);
    await logs.run();
    for (let nth = 1; nth <= 4; nth++) {
      await logs.write('app.log', 10);
      for (let number = nth - 1; number >= 1; number--) await rename(logs.at(`app.log.${number}`), logs.at(`app.log.${number + 1}`));
      await rename(logs.at('app.log'), logs.at('app.log.1'));
      await logs.write('app.log', nth);
      await logs.run();
    }
    logs.expectEachLineOnce();
    expect(logs.picked.size).toBe(5);
  });

  it('knows a copy that outlives its original, whatever the original has become', async () => {
    const logs = await watched();
    await logs.write('app.log', 100);
    await logs.run();
    await logs.write('app.log', 100);
    await copyFile(logs.at('app.log'), logs.at('app.log.1'));
    // While it is being copied, too.
    await truncate(logs.at('app.log.1'), 5000);
    expect(statesOf(await logs.run())).toMatchObject({ 'app.log.1': 'copy 0-0' });
    await copyFile(logs.at('app.log'), logs.at('app.log.1'));
    await logs.run();
    await truncate(logs.at('app.log'));
    await logs.write('app.log', 500);
    await logs.run();
    logs.expectEachLineOnce();
    expect(logs.picked.size).toBe(2);
  });

  it('finds that a file was truncated though it is longer than before', async () => {
    const logs = await watched();
    await logs.write('app.log', 100);
    await logs.run();
    await truncate(logs.at('app.log'));
    await logs.write('app.log', 1000);
    const source = await logs.run();
    expect(source.plan.logs[0]?.continues).toBeUndefined();
    logs.expectEachLineOnce();
    expect(logs.picked.size).toBe(2);
  });

  it.each([
    ['gzip', gzipSync, 'gz'],
    ['zstd', zstdCompressSync, 'zst'],
  ] as const)('takes of a log that was compressed with %s what nobody had seen before', async (_name, pack, ending) => {
    const logs = await watched();
    await logs.write('app.log', 100);
    await logs.run();
    await logs.write('app.log', 7);
    await rename(logs.at('app.log'), logs.at('app.log.1'));
    await logs.write('app.log', 5);
    await logs.compress('app.log.1', (bytes) => pack(bytes), ending);
    await logs.run();
    await rename(logs.at(`app.log.1.${ending}`), logs.at(`app.log.2.${ending}`));
    await logs.run();
    logs.expectEachLineOnce();
    expect(logs.picked.size).toBe(2);
  });

  it('counts nothing of a compressed file that is still being written', async () => {
    const logs = await watched();
    await logs.write('app.log.1', 1000);
    await logs.run();
    const packed = gzipSync(await readFile(logs.at('app.log.1')));
    await writeFile(logs.at('app.log.1.gz'), packed.subarray(0, 2000));
    const source = await logs.run();
    expect(statesOf(source)['app.log.1.gz']).toBe('incomplete 0-0');
    expect(source.warnings).toEqual([expect.stringContaining('app.log.1.gz is compressed and ends before its end')]);
    await writeFile(logs.at('app.log.1.gz'), packed);
    expect(statesOf(await logs.run())['app.log.1.gz']).toBe('copy 0-0');
    await rm(logs.at('app.log.1'));
    await logs.run();
    logs.expectEachLineOnce();
  });

  it('takes a file that was touched, changed in its rights, or has two names, but once', async () => {
    const logs = await watched();
    await logs.write('app.log', 10);
    await link(logs.at('app.log'), logs.at('b.log'));
    await logs.run();
    await chmod(logs.at('app.log'), 0o600);
    await logs.run();
    await utimes(logs.at('app.log'), 1, 1);
    const source = await logs.run();
    expect(source.plan.logs.find(({ file }) => file.path.endsWith('app.log'))?.continues).toBeUndefined();
    logs.expectEachLineOnce();
  });

  it('remembers a log that was not seen in a run', async () => {
    const logs = await watched();
    await logs.write('app.log', 10);
    await logs.write('other.log', 1);
    await logs.run();
    await rename(logs.at('app.log'), join(logs.folder, '..', 'away.log'));
    expect(statesOf(await logs.run())['app.log']).toMatch(/^gone/u);
    await rename(join(logs.folder, '..', 'away.log'), logs.at('app.log.1'));
    await logs.write('app.log.1', 3);
    await logs.run();
    logs.expectEachLineOnce();
    expect(logs.picked.size).toBe(2);
  });

  it('shows only files of the window, and picks up nothing twice when they come back into it', async () => {
    const logs = await watched();
    await logs.write('old.log', 10);
    await logs.write('app.log', 10);
    await logs.run({ since: '2020-01-01T00:00:00Z' });
    await utimes(logs.at('old.log'), 1000, 1000);
    const source = await logs.run({ since: '2020-01-01T00:00:00Z' });
    expect(source.shown.map(({ file }) => file.path)).toEqual([logs.at('app.log')]);
    await logs.write('old.log', 1);
    await logs.run({ since: '2020-01-01T00:00:00Z' });
    logs.expectEachLineOnce();
    await logs.write('new.log', 1);
    await utimes(logs.at('new.log'), 2_000_000_000, 2_000_000_000);
    expect((await logs.run({ until: 'PT1H' })).shown.map(({ file }) => file.path)).not.toContain(logs.at('new.log'));
  });

  it('says what is wrong when there is nothing', async () => {
    const logs = await watched();
    await expect(logs.run()).rejects.toMatchObject({ code: 'path_not_found' });
    await logs.write('app.log');
    await logs.run();
    await rm(logs.at('app.log'));
    expect(statesOf(await logs.run())['app.log']).toMatch(/^gone/u);
  });

  it('picks up each line once, whatever is done between runs', async () => {
    const step = fc.oneof(
      { weight: 4, arbitrary: fc.record({ kind: fc.constant('write' as const), lines: fc.integer({ min: 1, max: 200 }) }) },
      ...(['run', 'run', 'rename', 'copy', 'truncate', 'compress', 'compress-half', 'compress-kept'] as const).map((kind) => ({
        weight: 1,
        arbitrary: fc.record({ kind: fc.constant(kind), lines: fc.constant(0) }),
      })),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 40 }), async (steps) => {
        const logs = await watched();
        await logs.write('app.log', 2);
        const rotation = new Rotation(logs);
        for (const { kind, lines } of steps) {
          if (kind === 'write') await logs.write('app.log', lines);
          else if (kind === 'run') await logs.run();
          else await rotation[kind]();
        }
        await rotation.finish();
        await logs.run();
        logs.expectEachLineOnce();
      }),
      { numRuns: 60, seed: 20_260_501 },
    );
  }, 120_000);
});

/** What logrotate does, each step apart, so that runs fall between them. */
class Rotation {
  readonly #logs: Watched;
  #count = 0;
  #copied: string | undefined;
  #halfPacked: string | undefined;
  readonly #plain: string[] = [];

  constructor(logs: Watched) {
    this.#logs = logs;
  }

  async rename(): Promise<void> {
    if (this.#copied !== undefined) return;
    const name = `app.log.${++this.#count}`;
    await rename(this.#logs.at('app.log'), this.#logs.at(name));
    this.#plain.push(name);
    await this.#logs.write('app.log', 1);
  }

  /** Until it is truncated nothing may be written that the copy has not: that is lost with copytruncate. */
  async copy(): Promise<void> {
    this.#copied = `app.log.${(this.#count += this.#copied === undefined ? 1 : 0)}`;
    await copyFile(this.#logs.at('app.log'), this.#logs.at(this.#copied));
  }

  async truncate(): Promise<void> {
    if (this.#copied === undefined) return;
    await copyFile(this.#logs.at('app.log'), this.#logs.at(this.#copied));
    await truncate(this.#logs.at('app.log'));
    this.#plain.push(this.#copied);
    this.#copied = undefined;
  }

  async compress(): Promise<void> {
    await this.#finishHalf();
    const name = this.#plain.shift();
    if (name !== undefined) await this.#logs.compress(name);
  }

  async 'compress-half'(): Promise<void> {
    await this.#finishHalf();
    const [name] = this.#plain;
    if (name === undefined) return;
    const packed = gzipSync(await readFile(this.#logs.at(name)));
    await writeFile(this.#logs.at(`${name}.gz`), packed.subarray(0, packed.length >> 1));
    this.#halfPacked = name;
  }

  async 'compress-kept'(): Promise<void> {
    await this.#finishHalf();
    const [name] = this.#plain;
    if (name !== undefined) await writeFile(this.#logs.at(`${name}.gz`), gzipSync(await readFile(this.#logs.at(name))));
  }

  async finish(): Promise<void> {
    await this.#finishHalf();
    await this.truncate();
  }

  async #finishHalf(): Promise<void> {
    if (this.#halfPacked === undefined) return;
    await this.#logs.compress(this.#halfPacked);
    this.#plain.splice(this.#plain.indexOf(this.#halfPacked), 1);
    this.#halfPacked = undefined;
  }
}
