/**
 * How much a replication slot is to be worried about: `warning`: it makes its server keep much WAL, or comes near what the server lets it
 * keep; `critical`: the server gives it up at the next checkpoint; `lost`: WAL that it was to keep is gone, or it is itself.
 */
export const slotLevels = ['ok', 'warning', 'critical', 'lost'] as const;
export type SlotLevel = (typeof slotLevels)[number];

/** As the server tells of a slot. */
export interface SlotState {
  readonly walStatus: string | null;
  readonly retainedBytes: number;
  /** What may still be written until it is in danger; null when the server has no limit. */
  readonly safeBytes: number | null;
}

/** Of what a server lets a slot keep, the part that is left when it is told. */
const nearLimitShare = 0.25;

/** `warningBytes`: what a slot may keep without a word. `extended` alone says no more than that this is beyond max_wal_size. */
export function slotLevel({ walStatus, retainedBytes, safeBytes }: SlotState, warningBytes: number): SlotLevel {
  if (walStatus === 'lost') return 'lost';
  if (walStatus === 'unreserved') return 'critical';
  const isNearLimit = safeBytes !== null && safeBytes < nearLimitShare * (retainedBytes + safeBytes);
  return isNearLimit || retainedBytes >= warningBytes ? 'warning' : 'ok';
}
