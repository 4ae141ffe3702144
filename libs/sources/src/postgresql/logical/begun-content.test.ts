import { setImmediate as afterEvents } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { BegunContent } from './begun-content.ts';
import type { FileContent } from './stream-file.ts';

const { signal } = new AbortController();

async function textOf(content: FileContent): Promise<string> {
  const pieces: Uint8Array[] = [];
  for await (const piece of content) pieces.push(piece instanceof Uint8Array ? piece : piece.bytes);
  return Buffer.concat(pieces).toString();
}

test('begins at once, and what was said before anybody read comes first', async () => {
  const said: string[] = [];
  const begun = new BegunContent(async function* () {
    for (const word of ['one ', 'two ', 'three']) {
      said.push(word);
      yield Buffer.from(word);
    }
  }, signal);
  await afterEvents();
  expect(said).toHaveLength(3);
  expect(await textOf(begun.content())).toBe('one two three');
});

test('goes no further than 1 MiB ahead', async () => {
  let count = 0;
  const begun = new BegunContent(async function* () {
    for (; count < 40; count++) yield Buffer.alloc(100_000, 'x');
  }, signal);
  await afterEvents();
  expect(count).toBe(10);
  expect(await textOf(begun.content())).toHaveLength(4_000_000);
});

test('what it fails with is thrown to who reads, after what came before', async () => {
  const begun = new BegunContent(async function* () {
    yield Buffer.from('some');
    throw new Error('planned');
  }, signal);
  await afterEvents();
  await expect(textOf(begun.content())).rejects.toThrow('planned');
});

test('ends with the signal, and when nobody wants it', async () => {
  let endedCount = 0;
  const forever = async function* (ends: AbortSignal) {
    const ended = Promise.withResolvers<never>();
    ends.addEventListener('abort', () => ended.reject(ends.reason), { once: true });
    try {
      yield await ended.promise;
    } finally {
      endedCount++;
    }
  };
  const abort = new AbortController();
  const aborted = new BegunContent(forever, abort.signal);
  const unwanted = new BegunContent(forever, signal);
  abort.abort(new Error('stop'));
  await expect(textOf(aborted.content())).rejects.toThrow('stop');
  await unwanted[Symbol.asyncDispose]();
  expect(endedCount).toBe(2);
});
