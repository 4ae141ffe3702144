import { listen, type Listener } from '@holdfast/database/listen';
import { cancelChannel } from '@holdfast/database/runs';
import { asHoldfastError } from '@holdfast/errors/holdfast-error';
import { isRunKind } from '@holdfast/jobs/queue-names';
import { cancelled } from './heartbeat.ts';
import type { WorkerContext } from './worker-context.ts';

/** Stops a run as soon as its cancel request is committed. Requests made while the connection is away are heard by the heartbeat. */
export function startCancelListener({ config, inHand, logger }: WorkerContext): Listener {
  const onNotification = ({ payload }: { readonly payload: string }): void => {
    const [kind = '', id = ''] = payload.split(':');
    if (isRunKind(kind) && inHand.abort(kind, id, cancelled({ kind, id }))) logger.info({ kind, id }, 'cancel requested');
  };
  const onError = (error: unknown): void =>
    logger.debug({ code: asHoldfastError(error).code }, 'cancel requests are heard by heartbeats only');
  return listen(config.databaseUrl, [cancelChannel], onNotification, { onError });
}
