import { expect, it } from 'vitest';
import { NodeLog } from './node-log.ts';

it('gives back the nodes of each folder, however they came', () => {
  const log = new NodeLog();
  const text = (nth: number): string => `{"name":"${nth}","odd":"\\ud800 \ud83d\ude00\\n"}`;
  // More folders than blocks stay decompressed.
  for (let nth = 0; nth < 20_000; nth++) log.add(nth % 50, { name: `n${nth}\udcff`, text: text(nth), isFile: nth % 3 === 0 });
  for (const folder of [7, 49, 0, 7]) {
    const expected = Array.from({ length: 400 }, (_, round) => folder + round * 50);
    expect(log.nodesOf(folder)).toEqual(expected.map((nth) => ({ name: `n${nth}\udcff`, text: text(nth), isFile: nth % 3 === 0 })));
  }
  expect(log.nodesOf(50)).toEqual([]);
});
