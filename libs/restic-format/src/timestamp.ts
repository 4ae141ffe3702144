/** RFC 3339 text ⇔ nanoseconds since 1970 and minutes east of UTC, written as Go does. */
export interface Timestamp {
  readonly ns: bigint;
  readonly zoneMinutes: number;
}
export declare function encodeTimestamp(ns: bigint, zoneMinutes?: number): string;
export declare function decodeTimestamp(text: string): Timestamp;
