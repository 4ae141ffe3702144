import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { damaged, RdbBytes } from './rdb-bytes.ts';
import { rdbVersion } from './rdb-check.ts';

/** What an RDB file holds, in its order. */
export type RdbRecord =
  | {
      readonly kind: 'key';
      readonly database: number;
      readonly key: Buffer;
      /** Its type, and its value as it stands in the file: what RESTORE takes, but for the end. */
      readonly value: Buffer;
      /** Milliseconds since 1970; null for never. */
      readonly expiresAtMs: number | null;
    }
  /** A library of functions, by its code. */
  | { readonly kind: 'library'; readonly code: Buffer };

const headBytes = 9;
/** RDB_OPCODE_*, from src/rdb.h of Redis. */
const opcodes = {
  slotInfo: 244,
  library: 245,
  moduleAux: 247,
  idle: 248,
  frequency: 249,
  aux: 250,
  sizes: 251,
  expireMs: 252,
  expireS: 253,
};
const selectDatabase = 254;
const end = 255;

/**
 * The records of an RDB file, one at a time. Codes: repository_damaged; type_not_supported, for a type of value that this version does not
 * know: the file itself is whole and a server of its version reads it.
 */
export async function* readRdb(
  pieces: AsyncIterable<Uint8Array>,
): AsyncGenerator<RdbRecord & { readonly version: number }, void, undefined> {
  const bytes = new RdbBytes(pieces);
  const version = rdbVersion(await bytes.take(headBytes));
  if (version === null) throw damaged('another beginning');
  let database = 0;
  let expiresAtMs: number | null = null;
  for (;;) {
    const type = await bytes.byte();
    if (type === end) return;
    if (type === selectDatabase) database = await bytes.count();
    else if (type === opcodes.expireMs) expiresAtMs = Number((await bytes.take(8)).readBigUInt64LE());
    else if (type === opcodes.expireS) expiresAtMs = (await bytes.take(4)).readUInt32LE() * 1000;
    else if (type === opcodes.library) yield { kind: 'library', code: Buffer.from(await bytes.string()), version };
    else if (type >= opcodes.slotInfo) await skipFacts(bytes, type);
    else {
      const key = Buffer.from(await bytes.string());
      bytes.beginRecord();
      await skipValue(bytes, type);
      yield { kind: 'key', database, key, value: Buffer.concat([Buffer.of(type), bytes.endRecord()]), expiresAtMs, version };
      expiresAtMs = null;
    }
  }
}

async function skipFacts(bytes: RdbBytes, opcode: number): Promise<void> {
  switch (opcode) {
    case opcodes.slotInfo:
      for (let left = 3; left > 0; left--) await bytes.count();
      return;
    case opcodes.moduleAux:
      await bytes.count();
      return await skipModule(bytes);
    case opcodes.idle:
      return void (await bytes.count());
    case opcodes.frequency:
      return void (await bytes.byte());
    case opcodes.aux:
      await bytes.string();
      return void (await bytes.string());
    case opcodes.sizes:
      await bytes.count();
      return void (await bytes.count());
    default:
      throw unknownType(opcode);
  }
}

/** RDB_TYPE_*: of what a value is made, after its type. */
async function skipValue(bytes: RdbBytes, type: number): Promise<void> {
  switch (type) {
    // One string: a plain one, or one that holds a whole small collection.
    case 0:
    case 9:
    case 10:
    case 11:
    case 12:
    case 13:
    case 16:
    case 17:
    case 20:
      return void (await bytes.string());
    // Lists and sets.
    case 1:
    case 2:
    case 14:
      return await repeat(await bytes.count(), () => bytes.string());
    // A sorted set, its scores as text.
    case 3:
      return await repeat(await bytes.count(), async () => {
        await bytes.string();
        const length = await bytes.byte();
        // 253 to 255: not a number, and the infinite ones.
        if (length < 253) await bytes.take(length);
      });
    case 4:
      return await repeat((await bytes.count()) * 2, () => bytes.string());
    case 5:
      return await repeat(await bytes.count(), async () => {
        await bytes.string();
        await bytes.take(8);
      });
    case 7:
      await bytes.count();
      return await skipModule(bytes);
    case 18:
      return await repeat(await bytes.count(), async () => {
        await bytes.count();
        await bytes.string();
      });
    case 15:
    case 19:
    case 21:
      return await skipStream(bytes, type);
    // Hashes of which fields expire, since Redis 7.4.
    case 24:
      await bytes.take(8);
      return await repeat(await bytes.count(), async () => {
        await bytes.count();
        await bytes.string();
        await bytes.string();
      });
    case 25:
      await bytes.take(8);
      return void (await bytes.string());
    default:
      throw unknownType(type);
  }
}

/** A stream: its parts, its last ids, its groups with what they wait for. */
async function skipStream(bytes: RdbBytes, type: number): Promise<void> {
  await repeat((await bytes.count()) * 2, () => bytes.string());
  await repeat(type === 15 ? 3 : 8, () => bytes.count());
  await repeat(await bytes.count(), async () => {
    await bytes.string();
    await repeat(type === 15 ? 2 : 3, () => bytes.count());
    await repeat(await bytes.count(), async () => {
      await bytes.take(16 + 8);
      await bytes.count();
    });
    await repeat(await bytes.count(), async () => {
      await bytes.string();
      await bytes.take(type === 21 ? 16 : 8);
      await repeat(await bytes.count(), () => bytes.take(16));
    });
  });
}

/** Values of a module say of themselves what they are. */
async function skipModule(bytes: RdbBytes): Promise<void> {
  for (;;) {
    const kind = await bytes.count();
    if (kind === 0) return;
    if (kind === 1 || kind === 2) await bytes.count();
    else if (kind === 3) await bytes.take(4);
    else if (kind === 4) await bytes.take(8);
    else if (kind === 5) await bytes.string();
    else throw unknownType(kind);
  }
}

async function repeat(count: number, step: () => Promise<unknown>): Promise<void> {
  for (let left = count; left > 0; left--) await step();
}

function unknownType(type: number): HoldfastError {
  return new HoldfastError('type_not_supported', `the RDB file has a value of type ${type}, which this version cannot recover key by key`, {
    hint: 'recover the file dump.rdb into a folder, and start a server of its version on it',
  });
}
