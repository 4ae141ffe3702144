/**
 * Which files of a data folder hold pages, told by their names alone:
 *
 *     base/5/16384          a relation's main fork, its first GiB; global/1260 and pg_tblspc/16400/PG_15_202209061/5/16384 likewise
 *     base/5/16384.1        its second GiB
 *     base/5/16384_fsm      other forks: free space map, visibility map, the empty start of an unlogged relation (_init)
 *     base/5/INCREMENTAL.16384.1    changed blocks of it, in an incremental backup
 */
export interface RelationFile {
  /** The block number of its first page, counted over all files of the fork. */
  readonly firstBlock: number;
  readonly isIncremental: boolean;
}

/** RELSEG_SIZE of every usual build: 1 GiB of 8 KiB pages. */
const blocksPerFile = 131_072;

const pattern = /^(?:global|base\/\d+|pg_tblspc\/\d+\/PG_[^/]+\/\d+)\/(INCREMENTAL\.)?\d+(?:_(?:fsm|vm|init))?(?:\.(\d{1,6}))?$/u;

/** Null for a file that holds no pages. `path` as in the manifest. */
export function relationFile(path: string): RelationFile | null {
  const match = pattern.exec(path);
  if (match === null) return null;
  return { firstBlock: Number(match[2] ?? '0') * blocksPerFile, isIncremental: match[1] !== undefined };
}
