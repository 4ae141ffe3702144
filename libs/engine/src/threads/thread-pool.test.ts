import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { execFile } from 'node:child_process';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';
import { nicenessOfThread, type EchoCall } from '../testing/echo-session.ts';
import { openThreadPool } from './thread-pool.ts';
import { lowNiceness } from './thread-priority.ts';

const module = new URL('../testing/echo-session.ts', import.meta.url);
const never = new AbortController().signal;
const call = (input: EchoCall): EchoCall => input;

describe('a thread pool', () => {
  it('answers from every thread, and passes events on', async () => {
    await using pool = openThreadPool({ concurrency: 2 });
    const events: unknown[] = [];
    const onEvent = (event: unknown, thread: number) => events.push(`${thread} ${String(event)}`);
    await using group = pool.openGroup({ module, data: 'data', signal: never, onEvent });
    expect(await group.callAll(call({ do: 'echo', text: 'hello' }))).toEqual(['data 0 hello', 'data 1 hello']);
    expect(events.map(String).toSorted()).toEqual(['0 heard hello', '1 heard hello']);
    expect(group.pendingCount(0)).toBe(0);
  });

  it('is used by one group after the other, and by two at once', async () => {
    await using pool = openThreadPool({ concurrency: 1 });
    const first = pool.openGroup({ module, data: 'first', signal: never });
    const second = pool.openGroup({ module, data: 'second', signal: never });
    const echo = call({ do: 'echo', text: 'x' });
    expect(await Promise.all([first.call(0, echo), second.call(0, echo)])).toEqual(['first 0 x', 'second 0 x']);
    await first.close();
    expect(await second.call(0, echo)).toBe('second 0 x');
    await second.close();
    await using third = pool.openGroup({ module, data: 'third', signal: never });
    expect(await third.call(0, echo)).toBe('third 0 x');
  });

  it('brings errors over whole', async () => {
    await using pool = openThreadPool({ concurrency: 1 });
    await using group = pool.openGroup({ module, data: '', signal: never });
    const error = await group.call(0, call({ do: 'fail' })).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(HoldfastError);
    expect(error).toMatchObject({ code: 'storage_full', retry: 'later', hint: 'make room', context: { object: 'data/ab' } });
    expect((error as HoldfastError).cause).toMatchObject({ code: 'internal', message: 'deeper' });
  });

  it('tells when a module cannot be opened', async () => {
    await using pool = openThreadPool({ concurrency: 1 });
    await using group = pool.openGroup({ module: new URL('nowhere.ts', module), data: '', signal: never });
    await expect(group.call(0, call({ do: 'fail' }))).rejects.toThrow('nowhere.ts');
  });

  it.each(['spin', 'hang'] as const)('ends within a second when aborted while it does %s, and can be used again', async (what) => {
    await using pool = openThreadPool({ concurrency: 2 });
    const abort = new AbortController();
    const group = pool.openGroup({ module, data: '', signal: abort.signal });
    await group.callAll(call({ do: 'echo', text: 'up' }));
    const running = group.call(1, call({ do: what }));
    const startedAt = performance.now();
    abort.abort(new Error('enough'));
    await expect(running).rejects.toThrow('enough');
    await group.close();
    expect(performance.now() - startedAt).toBeLessThan(1000);
    await using again = pool.openGroup({ module, data: 'again', signal: never });
    expect(await again.callAll(call({ do: 'echo', text: 'y' }))).toEqual(['again 0 y', 'again 1 y']);
  });

  it('fails the calls of a thread that dies', async () => {
    await using pool = openThreadPool({ concurrency: 1 });
    await using group = pool.openGroup({ module, data: '', signal: never });
    await expect(group.call(0, call({ do: 'exit' }))).rejects.toMatchObject({ code: 'internal' });
    await expect(group.call(0, call({ do: 'echo', text: 'z' }))).rejects.toMatchObject({ code: 'internal' });
  });

  it.runIf(process.platform === 'linux')('of low priority is nice, and nobody else is', async () => {
    const nicenessOf = async (lowPriority: boolean): Promise<unknown[]> => {
      await using pool = openThreadPool({ concurrency: 2, lowPriority });
      await using group = pool.openGroup({ module, data: '', signal: never });
      return await group.callAll(call({ do: 'niceness' }));
    };
    const own = nicenessOfThread();
    expect(await nicenessOf(true)).toEqual([lowNiceness, lowNiceness]);
    expect(await nicenessOf(false)).toEqual([own, own]);
    expect(nicenessOfThread()).toBe(own);
  });

  it('keeps the compiled code of its threads where the process keeps its own', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'holdfast-compiled-'));
    try {
      const program = `
        import { enableCompileCache } from 'node:module';
        import { openThreadPool } from '${new URL('thread-pool.ts', import.meta.url).href}';
        enableCompileCache(process.argv[1]);
        await using pool = openThreadPool({ concurrency: 2 });
        await using group = pool.openGroup({ module: new URL('${module.href}'), data: '', signal: new AbortController().signal });
        console.log(JSON.stringify(await group.callAll({ do: 'compiled' })));`;
      const run = promisify(execFile)(process.execPath, ['--eval', program, folder], {
        env: { ...process.env, NODE_COMPILE_CACHE: undefined, NODE_NO_WARNINGS: '1' },
      });
      const [ofVersion = ''] = JSON.parse((await run).stdout) as string[];
      expect(ofVersion.startsWith(folder)).toBe(true);
      // The program itself loads nothing after it has said where to keep code: all of it is the threads'.
      expect((await readdir(ofVersion)).length).toBeGreaterThan(0);
    } finally {
      await rm(folder, { recursive: true });
    }
  });
});
