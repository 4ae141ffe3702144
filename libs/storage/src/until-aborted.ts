/**
 * The result of `work`, or a rejection with the signal's reason as soon as it is aborted. The work itself goes on until it
 * sees the signal, because no call of the operating system can be called back. Once `isCommitted` says true, an abort comes
 * too late and the work's own result counts.
 */
export async function untilAborted<T>(work: Promise<T>, signal: AbortSignal | undefined, isCommitted?: () => boolean): Promise<T> {
  if (signal === undefined) return work;
  const { promise: aborted, reject } = Promise.withResolvers<never>();
  const onAbort = (): void => {
    if (isCommitted?.() !== true) reject(signal.reason);
  };
  if (signal.aborted) onAbort();
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    return await Promise.race([work, aborted]);
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}
