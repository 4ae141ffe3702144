/** A tar archive as PostgreSQL makes it. `type`: `0` file, `5` directory, `2` symlink. */
export interface ArchivedFile {
  readonly name: string;
  readonly type?: '0' | '5' | '2';
  readonly content?: Uint8Array;
  readonly mode?: number;
  readonly modifiedS?: number;
  readonly linkTarget?: string;
  /** Said in the header in place of the content's. */
  readonly sizeBytes?: number;
}

export function tarHeader(file: ArchivedFile): Buffer {
  const header = Buffer.alloc(512);
  header.write(file.name, 0);
  header.write(octal(file.mode ?? 0o600, 8), 100);
  const sizeBytes = file.sizeBytes ?? file.content?.length ?? 0;
  if (sizeBytes < 8 ** 11) {
    header.write(octal(sizeBytes, 12), 124);
  } else {
    header[124] = 0x80;
    header.writeBigUInt64BE(BigInt(sizeBytes), 128);
  }
  header.write(octal(file.modifiedS ?? 1_700_000_000, 12), 136);
  header.write(file.type ?? '0', 156);
  header.write(file.linkTarget ?? '', 157);
  header.write('ustar\u000000', 257);
  header.fill(' ', 148, 156);
  header.write(
    `${octal(
      header.reduce((sum, byte) => sum + byte, 0),
      7,
    )}\0`,
    148,
  );
  return header;
}

/** With the two blocks at its end, or without, as 14 does. */
export function tarArchive(files: readonly ArchivedFile[], hasEnd = true): Buffer {
  const parts = files.flatMap((file) => {
    const content = file.content ?? Buffer.alloc(0);
    return [tarHeader(file), content, Buffer.alloc((512 - (content.length % 512)) % 512)];
  });
  return Buffer.concat([...parts, Buffer.alloc(hasEnd ? 1024 : 0)]);
}

function octal(value: number, width: number): string {
  return value.toString(8).padStart(width - 1, '0');
}
