import { invariant } from '@holdfast/errors/invariant';
import { createCipher, type MasterKeys } from '@holdfast/restic-format/cipher';
import { packName } from '@holdfast/restic-format/layout';
import type { ObjectId } from '@holdfast/restic-format/object-id';
import type { OpenObject } from '@holdfast/storage/local/local-object';
import type { ThreadStorageOptions } from '@holdfast/storage/storage';
import { openObject } from '@holdfast/storage/thread-storage';
import { createBlobUnpacker } from './blob-unpacker.ts';
import { checkPack, unreadablePack, type PackToCheck } from './check-pack.ts';
import { isDamage } from './damage.ts';
import { objectOfBytes } from './pack-object.ts';
import { PackedEntries } from './packed-entries.ts';
import { createSegmentUnpacker } from './segment-unpacker.ts';
import type { OpenThreadSession } from './threads/thread-session.ts';

/** What a thread checks: packs, one a call, read by itself or brought along. The session's module, see thread-session.ts. */
export interface CheckSessionData {
  readonly masterKeys: MasterKeys;
  /** Null when packs are brought along. */
  readonly storage: ThreadStorageOptions | null;
}

export interface CheckPackCall {
  readonly packId: ObjectId;
  /** See packed-entries.ts. */
  readonly indexed: Uint8Array<ArrayBuffer>;
  readonly readsTrees: boolean;
  /** The pack, when the storage cannot be read in a thread. */
  readonly bytes?: Uint8Array<ArrayBuffer>;
}

export const openThreadSession: OpenThreadSession = (data, context) => {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- check-packs.ts opens the session
  const { masterKeys, storage } = data as CheckSessionData;
  const [segments, unpacker] = [createSegmentUnpacker(masterKeys), createBlobUnpacker(masterKeys)];
  const tools = { segments, unpacker, cipher: createCipher(masterKeys), throwIfAborted: () => context.throwIfAborted() };
  return {
    handle(input) {
      // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- and makes the calls
      const { packId, indexed, readsTrees, bytes } = input as CheckPackCall;
      const pack: PackToCheck = { packId, indexed: new PackedEntries(indexed), readsTrees };
      let object: OpenObject;
      try {
        if (bytes !== undefined) object = objectOfBytes(bytes);
        else {
          invariant(storage !== null, 'a pack is neither here nor to be read');
          object = openObject(storage, packName(packId));
        }
      } catch (error) {
        if (!isDamage(error)) throw error;
        return { output: unreadablePack(pack, error.message) };
      }
      try {
        const output = checkPack(pack, object, tools);
        return { output, transfer: output.trees === undefined ? [] : [output.trees.buffer] };
      } finally {
        object.close();
      }
    },
    close() {},
  };
};
