import { closeSync, copyFileSync, ftruncateSync, openSync, renameSync, rmSync, writeFileSync, writeSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { gzipSync } from 'node:zlib';

/**
 * A program that writes numbered lines to app.log in the folder of its first argument and rotates it, in turn by renaming and by copying with
 * truncation; what was rotated the time before is compressed, so that a copy is there plain and packed for a moment. Nothing is removed. When
 * its input ends it prints how many lines it has written and ends.
 */
const folder = process.argv[2] ?? '';
const linesEach = 25;
const breathMs = 4;
const breathsEach = 90;

const path = join(folder, 'app.log');
const reopen = (): number => openSync(path, 'a');
const ended = new AbortController();
process.stdin.on('end', () => ended.abort()).resume();

let [descriptor, lineCount, rotationCount] = [reopen(), 0, 0];
process.stdout.write('ready\n');
for (let breath = 1; !ended.signal.aborted; breath++) {
  let lines = '';
  for (let nth = 0; nth < linesEach; nth++)
    lines += `${new Date().toISOString()} app[${process.pid}]: line ${++lineCount} of a program that works\n`;
  writeSync(descriptor, lines);
  await delay(breathMs);
  if (breath % breathsEach !== 0) continue;
  const rotated = join(folder, `app.log.${++rotationCount}`);
  if (rotationCount % 2 === 0) {
    renameSync(path, rotated);
    closeSync(descriptor);
    descriptor = reopen();
  } else {
    copyFileSync(path, rotated);
    ftruncateSync(descriptor, 0);
  }
  const former = join(folder, `app.log.${rotationCount - 1}`);
  if (rotationCount < 2) continue;
  writeFileSync(`${former}.gz`, gzipSync(readFileSync(former)));
  await delay(breathMs);
  rmSync(former);
}
process.stdout.write(`${lineCount}\n`);
