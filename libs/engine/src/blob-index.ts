import type { IndexedPack } from '@holdfast/restic-format/index-file';
import type { IndexColumns } from '@holdfast/restic-format/index-scan';
import type { ObjectId } from '@holdfast/restic-format/object-id';
import type { BlobType, PackedBlob } from '@holdfast/restic-format/pack';
import { PackedEntries } from './packed-entries.ts';

export interface BlobLocation extends PackedBlob {
  readonly packId: ObjectId;
}

/**
 * Which blob lies where: what all index files say together. Entries are numbered from 0 in the order of their adding, so that a
 * caller can keep marks beside them. A blob that lies in several packs has an entry for each; `find` gives the first.
 */
export interface BlobIndex {
  readonly entryCount: number;
  has(type: BlobType, id: ObjectId): boolean;
  lookup(type: BlobType, id: ObjectId): BlobLocation | null;
  /** The number of the blob's first entry, or -1. */
  find(type: BlobType, id: ObjectId): number;
  at(entry: number): BlobLocation;
  /** Whether `find` gives this entry for its blob, and no other one. */
  isFirst(entry: number): boolean;
  /** Where an entry lies, in numbers alone. `plainLength` is 0 when it is not compressed. */
  placeOf(entry: number): BlobPlace;
  /** The pack of a number, and how many entries it has. */
  packOf(packNumber: number): { readonly packId: ObjectId; readonly entryCount: number };
  /** As `find`, for an id as it stands in 32 bytes of `ids` from `position` on. */
  findBytes(type: BlobType, ids: Uint8Array, position: number): number;
  /** Several entries as a thread takes them. */
  pack(entries: readonly number[]): PackedEntries;
  /** An entry that is there already (same blob, pack and offset) is not added again. */
  add(pack: IndexedPack): void;
  /** As `add`, for all packs of an index file. */
  addColumns(columns: IndexColumns): void;
  /** Makes room for so many entries more. Room that is not used takes no memory, but growing to it step by step does. */
  reserve(count: number): void;
  /** Every pack once, with the numbers of its entries. */
  packs(): Iterable<IndexPackEntries>;
  /** Where the last blob of the pack that holds the entry ends: its header begins there. */
  packEndBytes(entry: number): number;
  /** What the index takes of the memory, near enough. */
  readonly heldBytes: number;
  /** The index as it is now, for other threads to look into: see openSharedIndex. No copy is made. */
  share(): SharedBlobIndex;
}

/** The columns that say which blobs are known. Entries from `entryCount` on are not to be looked at: they may be half written. */
export interface SharedBlobIndex {
  readonly entryCount: number;
  readonly slots: SharedArrayBuffer;
  readonly ids: SharedArrayBuffer;
  readonly isTree: SharedArrayBuffer;
}

export interface BlobPlace {
  readonly packNumber: number;
  readonly offset: number;
  readonly length: number;
  readonly plainLength: number;
}

export interface IndexPackEntries {
  readonly packId: ObjectId;
  readonly entries: readonly number[];
}

const idBytes = 32;
/** Most repositories are small, and a process may hold the indexes of thousands. */
const firstCapacity = 128;
/** Columns grow by a quarter: at most a fifth of them lies idle, which keeps a blob under 80 bytes. */
const growthFactor = 1.25;
/** Up to here they double: what lies idle is nothing, the copying is not. */
const smallCapacity = 16_384;
/** What a pack takes beside its entries: its id as text, its number in a map, its runs. */
const packHeldBytes = 300;
/** Beyond this share of used slots probing gets long. */
const maxLoad = 0.7;

/** A table of columns with an open-addressed table of slots over it: 49 bytes an entry and 4 a slot. */
export function createBlobIndex(): BlobIndex {
  return new ColumnIndex();
}

class ColumnIndex implements BlobIndex {
  entryCount = 0;
  #ids = Buffer.from(new SharedArrayBuffer(firstCapacity * idBytes));
  #isTree = new Uint8Array(new SharedArrayBuffer(firstCapacity));
  #packs = new Uint32Array(firstCapacity);
  #offsets = new Uint32Array(firstCapacity);
  #lengths = new Uint32Array(firstCapacity);
  /** 0 for a blob that is not compressed. */
  #plainLengths = new Uint32Array(firstCapacity);
  /** Entry number + 1; 0 is free. */
  #slots = sharedSlots(firstCapacity * 2);
  readonly #packIds: ObjectId[] = [];
  readonly #packNumbers = new Map<ObjectId, number>();
  /** For each pack the runs of its entries: first and count in turn. One run, unless index files disagree. */
  readonly #packRuns: number[][] = [];
  /** Of packs that were asked for: the runs that they had then, and where the last blob of these ends. */
  readonly #packEnds = new Map<number, { readonly runCount: number; readonly endBytes: number }>();

  has(type: BlobType, id: ObjectId): boolean {
    return this.find(type, id) !== -1;
  }

  lookup(type: BlobType, id: ObjectId): BlobLocation | null {
    const entry = this.find(type, id);
    return entry === -1 ? null : this.at(entry);
  }

  find(type: BlobType, id: ObjectId): number {
    return this.#probe(type, id, () => true);
  }

  at(entry: number): BlobLocation {
    const plainLength = this.#plainLengths[entry];
    return {
      id: this.#idAt(entry),
      type: this.#isTree[entry] === 1 ? 'tree' : 'data',
      packId: this.#packIds[this.#packs[entry] ?? 0] ?? '',
      offset: this.#offsets[entry] ?? 0,
      length: this.#lengths[entry] ?? 0,
      ...(plainLength ? { uncompressedLength: plainLength } : {}),
    };
  }

  isFirst(entry: number): boolean {
    return this.findBytes(this.#isTree[entry] === 1 ? 'tree' : 'data', this.#ids, entry * idBytes) === entry;
  }

  placeOf(entry: number): BlobPlace {
    return {
      packNumber: this.#packs[entry] ?? 0,
      offset: this.#offsets[entry] ?? 0,
      length: this.#lengths[entry] ?? 0,
      plainLength: this.#plainLengths[entry] ?? 0,
    };
  }

  packOf(packNumber: number): { packId: ObjectId; entryCount: number } {
    let entryCount = 0;
    const runs = this.#packRuns[packNumber] ?? [];
    for (let at = 1; at < runs.length; at += 2) entryCount += runs[at] ?? 0;
    return { packId: this.#packIds[packNumber] ?? '', entryCount };
  }

  findBytes(type: BlobType, ids: Uint8Array, position: number): number {
    const isTree = type === 'tree' ? 1 : 0;
    const mask = this.#slots.length - 1;
    const first =
      ((ids[position] ?? 0) << 24) | ((ids[position + 1] ?? 0) << 16) | ((ids[position + 2] ?? 0) << 8) | (ids[position + 3] ?? 0);
    for (let slot = first & mask; ; slot = (slot + 1) & mask) {
      const entry = (this.#slots[slot] ?? 0) - 1;
      if (entry === -1) return -1;
      if (this.#isTree[entry] === isTree && this.#hasId(entry, ids, position)) return entry;
    }
  }

  pack(entries: readonly number[]): PackedEntries {
    const packed = PackedEntries.allocate(entries.length);
    entries.forEach((entry, nth) => {
      const columns = {
        offset: this.#offsets[entry] ?? 0,
        length: this.#lengths[entry] ?? 0,
        plainLength: this.#plainLengths[entry] ?? 0,
        isTree: this.#isTree[entry] === 1,
      };
      packed.set(nth, columns, this.#ids.subarray(entry * idBytes, (entry + 1) * idBytes));
    });
    return packed;
  }

  add(pack: IndexedPack): void {
    const known = this.#packNumbers.get(pack.id);
    const packNumber = known ?? this.#packIds.push(pack.id) - 1;
    if (known === undefined) {
      this.#packNumbers.set(pack.id, packNumber);
      this.#packRuns.push([]);
    }
    const first = this.entryCount;
    for (const blob of pack.blobs) {
      if (known === undefined || !this.#hasCopy(packNumber, blob)) this.#append(packNumber, blob);
    }
    if (this.entryCount > first) this.#packRuns[packNumber]?.push(first, this.entryCount - first);
  }

  addColumns(columns: IndexColumns): void {
    const { packIds, packStarts, ids, isTree, offsets, lengths, plainLengths } = columns;
    this.reserve(packStarts.at(-1) ?? 0);
    for (const [nth, packId] of packIds.entries()) {
      const [from = 0, to = 0] = [packStarts[nth], packStarts[nth + 1]];
      if (this.#packNumbers.has(packId)) {
        this.add(packOf(columns, nth));
        continue;
      }
      const packNumber = this.#packIds.push(packId) - 1;
      this.#packNumbers.set(packId, packNumber);
      this.#packRuns.push(to > from ? [this.entryCount, to - from] : []);
      const first = this.entryCount;
      const count = to - from;
      this.#ids.set(ids.subarray(from * idBytes, to * idBytes), first * idBytes);
      this.#isTree.set(isTree.subarray(from, to), first);
      this.#packs.fill(packNumber, first, first + count);
      this.#offsets.set(offsets.subarray(from, to), first);
      this.#lengths.set(lengths.subarray(from, to), first);
      this.#plainLengths.set(plainLengths.subarray(from, to), first);
      this.entryCount += count;
      for (let entry = first; entry < this.entryCount; entry++) this.#takeSlot(this.#hashAt(entry), entry);
    }
  }

  reserve(count: number): void {
    const needed = this.entryCount + count;
    if (needed > this.#offsets.length) this.#growColumns(needed);
    if (needed > this.#slots.length * maxLoad) this.#growSlots(needed);
  }

  *packs(): Generator<IndexPackEntries> {
    for (const [packNumber, packId] of this.#packIds.entries()) {
      const entries: number[] = [];
      const runs = this.#packRuns[packNumber] ?? [];
      for (let at = 0; at < runs.length; at += 2) {
        const first = runs[at] ?? 0;
        for (let nth = 0; nth < (runs[at + 1] ?? 0); nth++) entries.push(first + nth);
      }
      yield { packId, entries };
    }
  }

  packEndBytes(entry: number): number {
    const packNumber = this.#packs[entry] ?? 0;
    const runs = this.#packRuns[packNumber] ?? [];
    const known = this.#packEnds.get(packNumber);
    if (known?.runCount === runs.length) return known.endBytes;
    let endBytes = 0;
    for (let at = 0; at < runs.length; at += 2) {
      // All of them: some versions of restic list the blobs of a pack in any order.
      const first = runs[at] ?? 0;
      for (let nth = first; nth < first + (runs[at + 1] ?? 0); nth++) {
        endBytes = Math.max(endBytes, (this.#offsets[nth] ?? 0) + (this.#lengths[nth] ?? 0));
      }
    }
    this.#packEnds.set(packNumber, { runCount: runs.length, endBytes });
    return endBytes;
  }

  get heldBytes(): number {
    const columnBytes = this.#offsets.length * (idBytes + 1 + 4 * Uint32Array.BYTES_PER_ELEMENT);
    return columnBytes + this.#slots.byteLength + this.#packIds.length * packHeldBytes;
  }

  share(): SharedBlobIndex {
    return { entryCount: this.entryCount, slots: this.#slots.buffer, ids: this.#ids.buffer, isTree: this.#isTree.buffer };
  }

  #hasCopy(packNumber: number, blob: PackedBlob): boolean {
    return this.#probe(blob.type, blob.id, (entry) => this.#packs[entry] === packNumber && this.#offsets[entry] === blob.offset) !== -1;
  }

  /** The first entry of the blob that is `wanted`, or -1. */
  #probe(type: BlobType, id: ObjectId, wanted: (entry: number) => boolean): number {
    const isTree = type === 'tree' ? 1 : 0;
    const mask = this.#slots.length - 1;
    for (let slot = slotHash(id) & mask; ; slot = (slot + 1) & mask) {
      const entry = (this.#slots[slot] ?? 0) - 1;
      if (entry === -1) return -1;
      if (this.#isTree[entry] === isTree && this.#idAt(entry) === id && wanted(entry)) return entry;
    }
  }

  #hasId(entry: number, ids: Uint8Array, position: number): boolean {
    const at = entry * idBytes;
    for (let nth = 0; nth < idBytes; nth++) if (this.#ids[at + nth] !== ids[position + nth]) return false;
    return true;
  }

  #idAt(entry: number): ObjectId {
    return this.#ids.toString('hex', entry * idBytes, (entry + 1) * idBytes);
  }

  #append(packNumber: number, blob: PackedBlob): void {
    this.reserve(1);
    const entry = this.entryCount++;
    this.#ids.write(blob.id, entry * idBytes, 'hex');
    this.#isTree[entry] = blob.type === 'tree' ? 1 : 0;
    this.#packs[entry] = packNumber;
    this.#offsets[entry] = blob.offset;
    this.#lengths[entry] = blob.length;
    this.#plainLengths[entry] = blob.uncompressedLength ?? 0;
    this.#takeSlot(slotHash(blob.id), entry);
  }

  #hashAt(entry: number): number {
    return this.#ids.readInt32BE(entry * idBytes);
  }

  #takeSlot(hash: number, entry: number): void {
    const mask = this.#slots.length - 1;
    let slot = hash & mask;
    while (this.#slots[slot] !== 0) slot = (slot + 1) & mask;
    this.#slots[slot] = entry + 1;
  }

  #growColumns(needed: number): void {
    const factor = this.#offsets.length < smallCapacity ? 2 : growthFactor;
    const capacity = Math.max(needed, Math.ceil(this.#offsets.length * factor));
    const ids = Buffer.from(new SharedArrayBuffer(capacity * idBytes));
    ids.set(this.#ids);
    this.#ids = ids;
    this.#isTree = grown(this.#isTree, new Uint8Array(new SharedArrayBuffer(capacity)));
    this.#packs = grown(this.#packs, new Uint32Array(capacity));
    this.#offsets = grown(this.#offsets, new Uint32Array(capacity));
    this.#lengths = grown(this.#lengths, new Uint32Array(capacity));
    this.#plainLengths = grown(this.#plainLengths, new Uint32Array(capacity));
  }

  #growSlots(needed: number): void {
    this.#slots = sharedSlots(2 ** Math.ceil(Math.log2(needed / maxLoad)));
    // In their order, so that the first entry of a blob stays the first to be found.
    for (let entry = 0; entry < this.entryCount; entry++) this.#takeSlot(this.#hashAt(entry), entry);
  }
}

/** One pack of the columns, as objects. */
function packOf({ packIds, packStarts, ids, isTree, offsets, lengths, plainLengths }: IndexColumns, nth: number): IndexedPack {
  const blobs: PackedBlob[] = [];
  for (let at = packStarts[nth] ?? 0; at < (packStarts[nth + 1] ?? 0); at++) {
    const id = Buffer.from(ids.subarray(at * idBytes, (at + 1) * idBytes)).toString('hex');
    const place = { id, type: isTree[at] === 1 ? 'tree' : 'data', offset: offsets[at] ?? 0, length: lengths[at] ?? 0 } as const;
    const uncompressedLength = plainLengths[at] ?? 0;
    blobs.push(uncompressedLength === 0 ? place : { ...place, uncompressedLength });
  }
  return { id: packIds[nth] ?? '', blobs };
}

function sharedSlots(count: number): Int32Array<SharedArrayBuffer> {
  return new Int32Array(new SharedArrayBuffer(count * Int32Array.BYTES_PER_ELEMENT));
}

/** Whether the shared index has a data blob; `id` are 32 bytes. */
export function openSharedIndex({ entryCount, slots, ids, isTree }: SharedBlobIndex): { hasData(id: Uint8Array): boolean } {
  const [slotWords, idWords, treeMarks] = [new Int32Array(slots), new Int32Array(ids), new Uint8Array(isTree)];
  const mask = slotWords.length - 1;
  const isAt = (entry: number, id: Int32Array): boolean => {
    for (let word = 0; word < id.length; word++) if (idWords[entry * id.length + word] !== id[word]) return false;
    return true;
  };
  return {
    hasData(id) {
      const words = new Int32Array(id.buffer, id.byteOffset, idBytes / Int32Array.BYTES_PER_ELEMENT);
      const first = ((id[0] ?? 0) << 24) | ((id[1] ?? 0) << 16) | ((id[2] ?? 0) << 8) | (id[3] ?? 0);
      for (let slot = first & mask; ; slot = (slot + 1) & mask) {
        const entry = (slotWords[slot] ?? 0) - 1;
        if (entry === -1) return false;
        if (entry < entryCount && treeMarks[entry] === 0 && isAt(entry, words)) return true;
      }
    },
  };
}

/** Ids are hashes already: their first 32 bits do. */
function slotHash(id: ObjectId): number {
  return Number.parseInt(id.slice(0, 8), 16) | 0;
}

function grown<T extends Uint8Array<SharedArrayBuffer> | Uint32Array>(from: T, into: T): T {
  into.set(from);
  return into;
}
