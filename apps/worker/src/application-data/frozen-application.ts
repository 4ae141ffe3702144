import { noteFreeze } from '@holdfast/database/application-freezes';
import { commitUnderFence } from '@holdfast/database/runs';
import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { hooksPlace, type HooksOptions } from '@holdfast/sources/source-options/hooks';
import type { RunInHand } from '../run-with-claim.ts';
import { callHook, hookCallOf, type HookCall } from './call-hook.ts';
import { thawLimitMs, thawNoted, thawWithoutNote, type NotedThaw, type ThawOutcome } from './thaw-noted.ts';

/** After the time in which the run itself has thawed it, others may think that nobody does. */
const thawMarginMs = 60_000;

export interface FrozenRun {
  readonly run: RunInHand<'backup'>;
  readonly businessEntityId: string;
  readonly backupConfigId: string;
}

/** What the row and the manifest say of it. */
export interface FreezeFacts {
  readonly frozenAt: string;
  readonly thawedAt: string | null;
  readonly frozenMs: number | null;
  readonly freezeOutput: string;
  readonly thawOutput: string;
}

/**
 * An application that stands still. It is thawed once: when its moment is there, when its time is over, or by `Symbol.asyncDispose`,
 * whichever comes first. The note of it is in the database before the freeze hook is called, for whoever comes when this process dies.
 */
export class FrozenApplication implements AsyncDisposable {
  /** Aborts with frozen_too_long: when its time is over, and when somebody else has thawed it. */
  readonly signal: AbortSignal;
  readonly #frozen: FrozenRun;
  readonly #hooks: HooksOptions;
  readonly #call: Omit<HookCall, 'action' | 'signal'>;
  readonly #overdue = new AbortController();
  readonly #frozenAtMs = Date.now();
  readonly #timer: NodeJS.Timeout;
  #thawedAtMs: number | null = null;
  #freezeOutput = '';
  #thawOutput = '';
  #thawing: Promise<HoldfastError | null> | undefined;

  private constructor(frozen: FrozenRun, hooks: HooksOptions, call: Omit<HookCall, 'action' | 'signal'>) {
    this.signal = this.#overdue.signal;
    this.#frozen = frozen;
    this.#hooks = hooks;
    this.#call = call;
    this.#timer = setTimeout(() => {
      const message = `the application was frozen for ${hooks.maxFrozenSeconds} s and its moment was not taken by then; it was thawed`;
      this.#overdue.abort(new HoldfastError('frozen_too_long', message));
      void this.thaw();
    }, hooks.maxFrozenSeconds * 1000);
  }

  /**
   * Notes it, calls the freeze hook and waits for it. When that fails the application is thawed before this throws: a hook may have done half of
   * its work. Codes: hook_failed, hook_not_found, hook_host_not_allowed, frozen_too_long, secret_unreadable, run_superseded, the run's reason.
   */
  static async freeze(frozen: FrozenRun, hooks: HooksOptions): Promise<FrozenApplication> {
    const { run, businessEntityId, backupConfigId } = frozen;
    const { context, claim } = run;
    const thaw: NotedThaw = { hook: hooks.thaw, place: hooksPlace(hooks) };
    const owner = { jobId: claim.id, configId: backupConfigId, place: thaw.place };
    const call = await hookCallOf(context, owner);
    const frozenAt = context.clock.now();
    const waitMs = hooks.maxFrozenSeconds * 1000 + thawLimitMs(hooks.thaw) + thawMarginMs;
    const note = {
      id: claim.id,
      businessEntityId,
      backupConfigId,
      thaw,
      hostname: context.hostname,
      fencingNumber: claim.fencingNumber,
      frozenAt,
    };
    const thawDueAt = new Date(frozenAt.getTime() + waitMs);
    await commitUnderFence(context.database, claim, (tx) => noteFreeze(tx, { ...note, thawDueAt }));
    const application = new FrozenApplication(frozen, hooks, call);
    try {
      const signal = AbortSignal.any([run.signal, application.signal]);
      application.#freezeOutput = (await callHook(hooks.freeze, { ...call, action: 'freeze', signal })).output;
      run.logger.info({ backupConfigId }, 'the application is frozen');
      return application;
    } catch (error) {
      await application.thaw();
      throw error;
    }
  }

  /** Thaws it, if that is not done or being done. Gives why it could not be, which is on the note and an event by then. */
  async thaw(): Promise<HoldfastError | null> {
    return await (this.#thawing ??= this.#thaw());
  }

  facts(): FreezeFacts {
    return {
      frozenAt: new Date(this.#frozenAtMs).toISOString(),
      thawedAt: this.#thawedAtMs === null ? null : new Date(this.#thawedAtMs).toISOString(),
      frozenMs: this.#thawedAtMs === null ? null : this.#thawedAtMs - this.#frozenAtMs,
      freezeOutput: this.#freezeOutput,
      thawOutput: this.#thawOutput,
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.thaw();
  }

  async #thaw(): Promise<HoldfastError | null> {
    clearTimeout(this.#timer);
    const { logger } = this.#frozen.run;
    const outcome = await this.#tryThaw();
    if (outcome.kind === 'failed') return outcome.error;
    if (outcome.kind === 'not_ours') {
      // Whose heartbeat was late, say. Nobody knows whether the moment was taken by then.
      const message = 'the application was thawed by somebody else, perhaps before its moment was taken';
      logger.warn(message);
      this.#overdue.abort(new HoldfastError('frozen_too_long', message));
      return null;
    }
    this.#thawedAtMs = Date.now();
    this.#thawOutput = outcome.answer.output;
    logger.info({ frozenMs: this.#thawedAtMs - this.#frozenAtMs }, 'the application is thawed');
    return null;
  }

  async #tryThaw(): Promise<ThawOutcome> {
    const { context, claim, logger } = this.#frozen.run;
    try {
      return await thawNoted(context, claim);
    } catch (error) {
      logger.warn({ err: error }, 'the note of a frozen application cannot be read; it is thawed all the same');
      return await thawWithoutNote(this.#hooks.thaw, this.#call);
    }
  }
}
