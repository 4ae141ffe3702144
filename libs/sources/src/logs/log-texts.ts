/** What the snapshot of a backup of logs holds beside the logs. */
export const logsFolder = '/holdfast-logs';
export const manifestName = 'manifest.jsonl';
export const readmeName = 'README.txt';
export const manifestPath = `${logsFolder}/${manifestName}`;

export const readmeText = `This snapshot holds log files, each whole and at its own path: restic restore brings them back as they are.

manifest.jsonl has one JSON object a line: the first names the format, each other one a file.
  path      where the file is in this snapshot, when its state is present, copy or incomplete
  log       names one stream of bytes; it stays the same when its file is renamed, copied and truncated, or compressed
  origin    where the log was seen first
  state     present: the file holds the log; gone: no file of this snapshot does; copy: another file holds it too;
            incomplete: a compressed file that was still being written
  fromByte  and toByte: what of the log the run of the time "run" was the first to store, of a compressed file in its plain text
  device, inode, sizeBytes, modified, changed: as stat(2) told them; times are nanoseconds since 1970
  head      and tail: length and SHA-256 of the log's first bytes and of those that end at toByte
  encoding  gzip or zstd, of a file that is compressed

What one run picked up of a plain file, with the numbers of its line:
  restic dump SNAPSHOT PATH | tail -c +$((fromByte + 1)) | head -c $((toByte - fromByte))
and of one with the encoding gzip:
  restic dump SNAPSHOT PATH | gzip -dc | tail -c +$((fromByte + 1)) | head -c $((toByte - fromByte))
Lines of earlier runs are in earlier snapshots: a log whose state is gone is in the last snapshot in which it was present.
`;
