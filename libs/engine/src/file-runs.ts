import type { TreeNode } from '@holdfast/restic-format/node';
import { encodeNodeText, type NamedNodeText } from '@holdfast/restic-format/tree-text';
import type { SkippedEntry, SourceNode } from '@holdfast/sources/source';
import type { KnownContent } from './continued-file.ts';
import type { FileStorer, StoredFile } from './file-storer.ts';
import { Slots } from './slots.ts';
import { encodeSourceNode, joinPath } from './source-node.ts';
import type { RecordedFolder } from './stat-cache/recorded-folder.ts';

export interface FileRunsOptions {
  readonly storer: FileStorer;
  /** Files in hand at once. */
  readonly concurrentFiles: number;
  readonly signal: AbortSignal;
  readonly onFile: (kind: 'new' | 'changed', sizeBytes: number) => void;
  readonly onBytes: (bytes: number) => void;
  readonly onSkipped: (skipped: SkippedEntry) => void;
  /** Notes a task that runs beside. */
  readonly track: (task: Promise<void>) => Promise<void>;
}

/** A file of a run. Its node is there when the run is stored; null when it was left out. */
export class FilePlace {
  readonly run: FileRun;
  readonly source: SourceNode;
  readonly before: TreeNode | undefined;
  readonly recorded: RecordedFolder | undefined;
  /** What the parent has of its beginning. */
  readonly known: KnownContent | undefined;
  stored: NamedNodeText | null = null;

  constructor(run: FileRun, source: SourceNode, { before, recorded, known }: FileBefore) {
    this.run = run;
    this.recorded = recorded;
    this.source = source;
    this.before = before;
    this.known = known;
  }
}

/** What is known of a file from before. */
export interface FileBefore {
  readonly before: TreeNode | undefined;
  readonly recorded: RecordedFolder | undefined;
  readonly known?: KnownContent | undefined;
}

interface FileRun {
  readonly folder: string;
  readonly places: FilePlace[];
  /** There when it has been sent. */
  done: Promise<void> | undefined;
  isDone: boolean;
}

/** Files that follow each other in a folder are stored in runs: what is made and waited for a file costs as much as storing a tiny one. */
const maxRunFiles = 64;
/** A larger file is a run of its own, so that none waits for it. */
const maxRunBytes = 1024 * 1024;

/** Puts files together to runs, sends them to the storer, and makes the nodes of what was stored. */
export class FileRuns {
  readonly #options: FileRunsOptions;
  readonly #slots: Slots;
  readonly #maxFiles: number;
  #runs: FileRun[] = [];
  #open: FileRun | undefined;
  #fileCount = 0;
  #bytes = 0;

  constructor(options: FileRunsOptions) {
    this.#options = options;
    this.#slots = new Slots(options.concurrentFiles);
    this.#maxFiles = options.storer.storeRun === undefined ? 1 : Math.min(maxRunFiles, options.concurrentFiles);
  }

  /** What has gathered is to be sent before more is added. */
  get isFull(): boolean {
    return this.#fileCount >= this.#maxFiles || this.#bytes >= maxRunBytes;
  }

  add(folder: string, source: SourceNode, before: FileBefore): FilePlace {
    const isAlone = source.sizeBytes > maxRunBytes;
    let run = isAlone ? undefined : this.#open;
    if (run?.folder !== folder) {
      run = { folder, places: [], done: undefined, isDone: false };
      this.#runs.push(run);
      if (!isAlone) this.#open = run;
    }
    const place = new FilePlace(run, source, before);
    run.places.push(place);
    this.#fileCount++;
    this.#bytes += isAlone ? 0 : source.sizeBytes;
    return place;
  }

  /** Resolves when all that has gathered is on its way. */
  async send(): Promise<void> {
    const runs = this.#runs;
    this.#runs = [];
    this.#open = undefined;
    this.#fileCount = 0;
    this.#bytes = 0;
    for (const run of runs) {
      const { length } = run.places;
      await this.#slots.acquire(length);
      run.done = this.#options.track(this.#store(run).finally(() => this.#slots.release(length)));
    }
  }

  async #store(run: FileRun): Promise<void> {
    const { folder, places } = run;
    const { storer, signal, onBytes } = this.#options;
    signal.throwIfAborted();
    const files = places.map(({ source: { name, sizeBytes } }) => ({ name, sizeBytes }));
    if (storer.storeRun !== undefined) {
      const stored = await storer.storeRun(folder, files, { signal, onBytes });
      let nth = 0;
      for (const place of places) this.#settle(folder, place, stored[nth++]);
    } else {
      for (const place of places) {
        const { known, source } = place;
        const { name, sizeBytes } = source;
        this.#settle(folder, place, await storer.store(joinPath(folder, name), { signal, onBytes, sizeBytes, known }));
      }
    }
    run.isDone = true;
  }

  #settle(folder: string, place: FilePlace, file: StoredFile = { kind: 'skipped', reason: 'nobody has stored it' }): void {
    const { onFile, onSkipped } = this.#options;
    const { source, before, recorded } = place;
    // What was not stored as it was looked at is to be looked at again.
    const isAsSeen = file.kind === 'stored' && file.sizeBytes === source.sizeBytes && file.attributes?.problem === undefined;
    if (!isAsSeen) recorded?.record.spoil(source.name);
    if (file.kind === 'skipped') {
      onSkipped({ path: joinPath(folder, source.name), reason: file.reason });
      return;
    }
    onFile(before?.type === 'file' ? 'changed' : 'new', file.sizeBytes);
    const { content, sizeBytes, attributes } = file;
    if (source.attributesUnread === true && attributes?.problem !== undefined)
      onSkipped({ path: joinPath(folder, source.name), reason: attributes.problem });
    const whole = source.attributesUnread === true ? withAttributesOf(source, attributes?.attributes) : source;
    // A file that grew or shrank meanwhile: the node says what was stored, so the next backup sees the difference and reads it again.
    place.stored = encodeNodeText(encodeSourceNode(whole, { content, sizeBytes }));
  }
}

/** The node with the attributes that were found later. */
export function withAttributesOf(node: SourceNode, extendedAttributes: SourceNode['extendedAttributes']): SourceNode {
  return extendedAttributes === undefined ? node : { ...node, extendedAttributes };
}
