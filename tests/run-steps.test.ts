import { expect, test } from 'vitest';
import { type Step, report, runSteps } from '../scripts/check/run-steps.ts';

const nodeStep = (name: string, code: string): Step => ({ name, command: [process.execPath, '-e', code], holds: `${name} holds` });

test('a failing step neither stops the others nor goes unseen, and its words are kept', async () => {
  const steps = [
    nodeStep('first', 'console.log("what is wrong"); process.exit(3)'),
    nodeStep('second', ''),
    { name: 'third', command: ['no-such-program'], holds: '' } satisfies Step,
  ];
  const results = await runSteps(steps, { folder: import.meta.dirname, maxParallel: 2 });
  expect(results.map(({ step, ok }) => [step.name, ok])).toEqual([
    ['first', false],
    ['second', true],
    ['third', false],
  ]);
  const text = report(results, 1_234);
  expect(text).toContain('── first ──\nwhat is wrong');
  expect(text).toMatch(/^second +\d+\.\d +ok +second holds$/m);
  expect(text).toContain('1 of 3 steps ok in 1.2 s');
});

test('an interrupt ends a running step', async () => {
  const interrupted = new AbortController();
  const running = runSteps([nodeStep('endless', 'setInterval(() => {}, 1000)')], {
    folder: import.meta.dirname,
    maxParallel: 1,
    signal: interrupted.signal,
  });
  interrupted.abort();
  expect((await running)[0]?.ok).toBe(false);
});
