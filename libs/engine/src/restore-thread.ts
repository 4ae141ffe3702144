import { invariant } from '@holdfast/errors/invariant';
import type { MasterKeys } from '@holdfast/restic-format/cipher';
import { packName } from '@holdfast/restic-format/layout';
import type { ThreadTargetOptions } from '@holdfast/sources/target';
import { openThreadTarget } from '@holdfast/sources/thread-target';
import type { ThreadStorageOptions } from '@holdfast/storage/storage';
import { openObject } from '@holdfast/storage/thread-storage';
import { objectOfBytes } from './pack-object.ts';
import { restorePack, type PackToRestore } from './restore-pack.ts';
import { createStretchUnpacker } from './stretch-unpacker.ts';
import type { OpenThreadSession } from './threads/thread-session.ts';

/** What a thread restores: packs, one a call, read by itself or brought along. The session's module, see thread-session.ts. */
export interface RestoreSessionData {
  readonly masterKeys: MasterKeys;
  /** Null when packs are brought along. */
  readonly storage: ThreadStorageOptions | null;
  readonly target: ThreadTargetOptions;
}

export interface RestorePackCall extends PackToRestore {
  /** When the storage cannot be read in a thread: the bytes of the pack that the uses need, from `startBytes` on. */
  readonly brought?: { readonly bytes: Uint8Array<SharedArrayBuffer>; readonly startBytes: number };
}

export const openThreadSession: OpenThreadSession = (data, context) => {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- restore-packs.ts opens the session
  const { masterKeys, storage, target } = data as RestoreSessionData;
  const writer = openThreadTarget(target);
  const tools = { unpacker: createStretchUnpacker(masterKeys), writer, throwIfAborted: () => context.throwIfAborted() };
  return {
    handle(input) {
      // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- and makes the calls
      const call = input as RestorePackCall;
      const { brought, packId } = call;
      const open = () => {
        if (brought !== undefined) return objectOfBytes(brought.bytes, brought.startBytes);
        invariant(storage !== null && packId !== null, 'a pack is neither here nor to be read');
        return openObject(storage, packName(packId));
      };
      return { output: restorePack(call, open, tools) };
    },
    close: () => writer.close(),
  };
};
