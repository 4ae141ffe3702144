import type { Progress } from '@holdfast/jobs/progress';
import { formatBytes, formatCount, formatDuration } from './format-amount.ts';
import { paint } from './paint.ts';

/** What a bar is drawn on: process.stderr or process.stdout. */
export type BarStream = Pick<NodeJS.WriteStream, 'write' | 'isTTY' | 'columns'>;

const barWidth = 24;
const fallbackColumns = 100;
/** A log or a pipe gets a line this often, a terminal redraws its line each time. */
const plainIntervalMs = 3_000;
const eraseLine = '\r\u001B[2K';

/** Share done, 0 to 1; null while no total is known. Bytes say more than files; a run without bytes counts files. */
export function progressShare(progress: Progress): number | null {
  const { bytesTotal, filesTotal } = progress;
  if (bytesTotal !== null && bytesTotal > 0) return clampShare(progress.bytesDone / bytesTotal);
  if (filesTotal !== null && filesTotal > 0) return clampShare(progress.filesDone / filesTotal);
  return null;
}

/** `reading  ████░░  48%  12.0 MiB of 25.0 MiB  310 of 640 files  40.0 MiB/s  0.3 s left` */
export function formatProgress(progress: Progress): string {
  const share = progressShare(progress);
  const parts = [progress.phase];
  if (share !== null) {
    const filled = Math.round(share * barWidth);
    parts.push('█'.repeat(filled) + '░'.repeat(barWidth - filled), `${String(Math.floor(share * 100)).padStart(3)}%`);
  }
  parts.push(amountOf(progress.bytesDone, progress.bytesTotal, formatBytes));
  parts.push(`${amountOf(progress.filesDone, progress.filesTotal, formatCount)} files`);
  if (progress.bytesPerSecond > 0) parts.push(`${formatBytes(progress.bytesPerSecond)}/s`);
  if (progress.remainingMs !== null && progress.remainingMs > 0) parts.push(`${formatDuration(progress.remainingMs)} left`);
  return parts.join('  ');
}

export interface ProgressBar {
  show(progress: Progress): void;
  /** Takes the line away (terminal) so that something else can be written; a later `show` draws it again. */
  clear(): void;
}

/** A bar for one run. `label` stands before it; `now` gives milliseconds. */
export function openProgressBar(label: string, stream: BarStream, now: () => number): ProgressBar {
  let plainAtMs = Number.NEGATIVE_INFINITY;
  let isDrawn = false;
  return {
    show(progress) {
      const text = `${label}  ${formatProgress(progress)}`;
      if (stream.isTTY) {
        // A line that wraps cannot be erased; one column stays free for the cursor.
        stream.write(`${eraseLine}${paint('cyan', text.slice(0, (stream.columns || fallbackColumns) - 1), stream)}`);
        isDrawn = true;
        return;
      }
      if (now() - plainAtMs < plainIntervalMs) return;
      plainAtMs = now();
      stream.write(`${text}\n`);
    },
    clear() {
      if (isDrawn) stream.write(eraseLine);
      isDrawn = false;
    },
  };
}

function amountOf(done: number, total: number | null, format: (amount: number) => string): string {
  return total === null ? format(done) : `${format(done)} of ${format(total)}`;
}

function clampShare(share: number): number {
  return Math.min(1, Math.max(0, share));
}
