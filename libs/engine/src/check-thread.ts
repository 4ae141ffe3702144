import { createCipher, type MasterKeys } from '@holdfast/restic-format/cipher';
import { packName } from '@holdfast/restic-format/layout';
import type { ObjectId } from '@holdfast/restic-format/object-id';
import type { OpenObject, ThreadReader } from '@holdfast/storage/storage';
import { createBlobUnpacker } from './blob-unpacker.ts';
import { checkPack, unreadablePack, type PackToCheck } from './check-pack.ts';
import { isDamage } from './damage.ts';
import { openThreadReader, readerOfBytes } from './pack-object.ts';
import { PackedEntries } from './packed-entries.ts';
import type { SessionContext, ThreadSession } from './threads/thread-session.ts';

/** What a thread checks: packs, one a call, read by itself or brought along. The session's module, see thread-session.ts. */
export interface CheckSessionData {
  readonly masterKeys: MasterKeys;
  readonly reader: ThreadReader | null;
}

export interface CheckPackCall {
  readonly packId: ObjectId;
  /** See packed-entries.ts. */
  readonly indexed: Uint8Array<ArrayBuffer>;
  readonly readsTrees: boolean;
  /** The pack, when the storage cannot be read in a thread. */
  readonly bytes?: Uint8Array<ArrayBuffer>;
}

export async function openThreadSession(data: unknown, context: SessionContext): Promise<ThreadSession> {
  const { masterKeys, reader } = data as CheckSessionData;
  const unpacker = createBlobUnpacker(masterKeys);
  const tools = { unpacker, cipher: createCipher(masterKeys), throwIfAborted: () => context.throwIfAborted() };
  const objects = await openThreadReader(reader);
  return {
    handle(input) {
      const { packId, indexed, readsTrees, bytes } = input as CheckPackCall;
      const pack: PackToCheck = { packId, indexed: new PackedEntries(indexed), readsTrees };
      let object: OpenObject;
      try {
        object = bytes === undefined ? objects.open(packName(packId)) : readerOfBytes(bytes);
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
    close: () => unpacker.close(),
  };
}
