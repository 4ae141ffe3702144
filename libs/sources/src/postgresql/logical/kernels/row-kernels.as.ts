/**
 * The inner loop over what COPY TO STDOUT sends, in AssemblyScript. Built by scripts/build-kernels.ts.
 *
 * A message is `d`, a length of four bytes (big endian, itself included) and a row; they come by the million, so they are taken out of
 * their frames, moved together and hashed in one go. Source: "Message Formats" in PostgreSQL's manual.
 *
 * Memory is imported and laid out by hand; nothing is allocated. The addresses are repeated in row-kernels.ts.
 *    1024   u32            where takeRows has stopped
 *    1028   u32            ends of rows that it has chosen
 *    2048   … × u32        those ends
 *   65536   …              the caller's
 */
const STOPPED_AT: usize = 1024;
const CHOSEN_COUNT: usize = 1028;
const CHOSEN: usize = 2048;

const COPY_DATA: u8 = 0x64;
const HEADER_BYTES: usize = 5;
/** Of a longer row only so much is waited for, and hashed. */
const LONG_BYTES: u32 = 32768;
/** Ends that lie closer to each other are of no use, and might be too many. */
const NEAREST_BYTES: u64 = 1024;
/** log2 of the mean distance of ends that are chosen, in bytes. */
const MEAN_LOG: u64 = 20;

/** Of a long row, what is still to come, and whether its end is one of those that are chosen. */
let left: u32 = 0;
let isLeftChosen: bool = false;
let key: u64 = 0;
let sinceChosen: u64 = NEAREST_BYTES;

/** Rows of a new COPY follow; only who has the key can tell which ends are chosen. */
export function beginRows(newKey: u64): void {
  key = newKey;
  left = 0;
  sinceChosen = NEAREST_BYTES;
}

const PRIME_1: u64 = 0x9e3779b185ebca87;
const PRIME_2: u64 = 0xc2b2ae3d27d4eb4f;
const PRIME_3: u64 = 0x165667b19e3779f9;

// @ts-ignore: decorator of AssemblyScript
@inline function mix(lane: u64, word: u64): u64 {
  return rotl<u64>((lane ^ word) * PRIME_1, 29);
}

/** Moves the first `size` bytes of a row down, at least by its header, and returns whether they choose its end. */
function moveRow(from: usize, size: usize, to: usize, rowSize: u32): bool {
  let a = key, b = key ^ PRIME_2, c = rotl<u64>(key, 21), d = rotl<u64>(key, 43) ^ PRIME_3;
  const end = from + size;
  // The last word overlaps the one before it, and is read before it is written over.
  const last = size >= 8 ? load<u64>(end - 8) : 0;
  while (end - from >= 32) {
    const w0 = load<u64>(from), w1 = load<u64>(from, 8), w2 = load<u64>(from, 16), w3 = load<u64>(from, 24);
    store<u64>(to, w0);
    store<u64>(to, w1, 8);
    store<u64>(to, w2, 16);
    store<u64>(to, w3, 24);
    a = mix(a, w0);
    b = mix(b, w1);
    c = mix(c, w2);
    d = mix(d, w3);
    from += 32;
    to += 32;
  }
  while (end - from >= 8) {
    const word = load<u64>(from);
    store<u64>(to, word);
    a = mix(a, word);
    from += 8;
    to += 8;
  }
  if (size >= 8) {
    store<u64>(to + (end - from) - 8, last);
    b = mix(b, last);
  } else {
    while (from < end) {
      const byte = load<u8>(from);
      store<u8>(to, byte);
      a = mix(a, <u64>byte);
      from++;
      to++;
    }
  }
  let hash = a ^ rotl<u64>(b, 17) ^ rotl<u64>(c, 34) ^ rotl<u64>(d, 51) ^ <u64>rowSize;
  hash = (hash ^ (hash >>> 32)) * PRIME_2;
  hash = (hash ^ (hash >>> 29)) * PRIME_3;
  // The chance is by the row's length, so that the mean distance is the same for all tables.
  return hash >>> 32 < <u64>rowSize << (32 - MEAN_LOG);
}

/** Notes the end of a row at `end`, unless it is too near to the last one. */
function choose(end: usize): void {
  if (sinceChosen < NEAREST_BYTES) return;
  const count = load<u32>(CHOSEN_COUNT);
  store<u32>(CHOSEN + (<usize>count << 2), <u32>end);
  store<u32>(CHOSEN_COUNT, count + 1);
  sinceChosen = 0;
}

/**
 * Moves the rows of the messages in [at, end) to `to` and returns where they end there. It stops at the end, in front of a row that is not there
 * whole, and in front of any other message; and says where, and which ends of rows it has chosen: on average one in 2^MEAN_LOG bytes, by the
 * row itself and wherever it lies. `to` is below `at`, or somewhere else; it has room for as many bytes as there are.
 */
export function takeRows(at: usize, end: usize, to: usize): usize {
  store<u32>(CHOSEN_COUNT, 0);
  while (at < end) {
    if (left > 0) {
      const size = min<usize>(left, end - at);
      memory.copy(to, at, size);
      left -= <u32>size;
      sinceChosen += size;
      at += size;
      to += size;
      if (left == 0 && isLeftChosen) choose(to);
      continue;
    }
    if (end - at < HEADER_BYTES || load<u8>(at) != COPY_DATA) break;
    const length = bswap<u32>(load<u32>(at, 1));
    // Less than the length itself is no message.
    if (length < 4) break;
    const rowSize = length - 4;
    const size = <usize>min<u32>(rowSize, LONG_BYTES);
    if (end - at < HEADER_BYTES + size) break;
    const isChosen = moveRow(at + HEADER_BYTES, size, to, rowSize);
    at += HEADER_BYTES + size;
    to += size;
    sinceChosen += size;
    if (rowSize > LONG_BYTES) {
      left = rowSize - LONG_BYTES;
      isLeftChosen = isChosen;
    } else if (isChosen) choose(to);
  }
  store<u32>(STOPPED_AT, <u32>at);
  return to;
}
