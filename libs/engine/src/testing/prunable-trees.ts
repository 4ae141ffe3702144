import type { MemoryFolder } from './memory-source.ts';
import { noise } from './test-repository.ts';

/** What trees of cleanups are made of: content that stays in use, and content that goes with the backup that alone has it. */
export const dataFolder = (entries: MemoryFolder): MemoryFolder => ({ data: { type: 'dir', entries } });
export const stays = { type: 'file', bytes: noise(1_000_000, 1) } as const;
export const goes = { type: 'file', bytes: noise(1_500_000, 2) } as const;
