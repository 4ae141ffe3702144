import { setTimeout as delay } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { programOutput, type ProgramEnd, type ProgramOutputOptions } from './program-output.ts';

const env = { PATH: '/usr/bin:/bin' };

async function run(script: string, more: Partial<ProgramOutputOptions> = {}): Promise<{ text: string; end: ProgramEnd }> {
  const { signal = new AbortController().signal, ...rest } = more;
  const output = programOutput({ command: '/bin/sh', args: ['-c', script], env, signal, ...rest });
  let text = '';
  for (;;) {
    const { value, done } = await output.next();
    if (done === true) return { text, end: value };
    text += String(value);
  }
}

async function* chunks(...texts: string[]): AsyncGenerator<Uint8Array> {
  for (const text of texts) yield Buffer.from(text);
}

/** Whether a process of this id is there. */
function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

test('gives what a program writes, what it complained of, and how it ended', async () => {
  expect(await run('echo out; echo complaint >&2; exit 3')).toEqual({ text: 'out\n', end: { code: 3, complaint: 'complaint\n' } });
  expect(await run('kill -9 $$')).toEqual({ text: '', end: { code: null, complaint: '' } });
  const { end } = await run('i=0; while [ $i -lt 500 ]; do echo "line $i of it" >&2; i=$((i+1)); done');
  expect(end.complaint).toMatch(/line 499 of it\n$/u);
  expect(end.complaint.length).toBe(2_000);
});

test('feeds it, also one that does not want all, and gives it nothing of our environment', async () => {
  expect(await run('cat', { input: chunks('a', 'b', 'c') })).toMatchObject({ text: 'abc', end: { code: 0 } });
  const endless = async function* (): AsyncGenerator<Uint8Array> {
    for (;;) yield Buffer.alloc(64 * 1024);
  };
  expect(await run('exit 7', { input: endless() })).toMatchObject({ end: { code: 7 } });
  expect((await run('env')).text.split('\n').filter((line) => !/^(PATH|PWD|SHLVL|_)=|^$/u.test(line))).toEqual([]);
});

test('a program whose input fails is killed, and the failure is told', async () => {
  const failing = async function* (): AsyncGenerator<Uint8Array> {
    yield Buffer.from('begun');
    throw new Error('no more of it');
  };
  await expect(run('cat; sleep 60', { input: failing() })).rejects.toThrow('no more of it');
});

test('a program that is not there is an error, and not an end', async () => {
  await expect(run('', { command: '/nonexistent/program' })).rejects.toThrow('ENOENT');
});

test('ends it when the reader stops, and by the signal, whose reason is thrown', async () => {
  const ended = new AbortController();
  const options = { command: '/bin/sh', args: ['-c', 'echo $$; exec sleep 60'], env, signal: ended.signal };
  let left = 0;
  for await (const chunk of programOutput(options)) {
    left = Number(String(chunk));
    break;
  }
  expect(left).toBeGreaterThan(0);
  expect(isAlive(left)).toBe(false);

  const output = programOutput(options);
  const { value: first } = await output.next();
  const pid = Number(Buffer.isBuffer(first) ? first.toString() : 0);
  expect(isAlive(pid)).toBe(true);
  const next = output.next();
  await delay(20);
  ended.abort(new Error('cancelled'));
  await expect(next).rejects.toThrow('cancelled');
  expect(isAlive(pid)).toBe(false);
  await expect(programOutput(options).next()).rejects.toThrow('cancelled');
});
