import type { ObjectId } from '@holdfast/restic-format/object-id';
import type { BlobType } from '@holdfast/restic-format/pack';
import type { AffectedPath, Finding, FindingKind } from './finding.ts';

/** The lists are for people; the counts tell the rest. */
export const maxFindingsListed = 1000;
export const maxAffectedListed = 20;

export interface NewFinding {
  readonly kind: FindingKind;
  readonly severity: Finding['severity'];
  readonly message: string;
  readonly objectName?: string;
  readonly packId?: ObjectId;
  readonly blobId?: ObjectId;
  readonly blobType?: BlobType;
  /** All blobs of the pack are lost with it. */
  readonly hitsWholePack?: boolean;
}

/** Collects what a check finds, in a bounded memory, and who suffers from it. */
export class FindingList {
  count = 0;
  damageCount = 0;
  readonly #findings: (Finding & { affected: AffectedPath[]; affectedCount: number })[] = [];
  readonly #byPack = new Map<ObjectId, number>();
  readonly #byBlob = new Map<string, number>();

  add({ hitsWholePack = false, blobType, ...finding }: NewFinding): void {
    this.count++;
    if (finding.severity === 'damage') this.damageCount++;
    if (this.#findings.length >= maxFindingsListed) return;
    const at = this.#findings.push({ ...finding, affected: [], affectedCount: 0 }) - 1;
    if (hitsWholePack && finding.packId !== undefined) this.#byPack.set(finding.packId, at);
    if (finding.blobId !== undefined && blobType !== undefined) this.#byBlob.set(blobType + finding.blobId, at);
  }

  /** Whether the loss of a blob is among the findings: by itself or with its pack. */
  hits(type: BlobType, id: ObjectId, packId: ObjectId | undefined): boolean {
    return this.#byBlob.has(type + id) || (packId !== undefined && this.#byPack.has(packId));
  }

  /** Notes a path that a restore would miss. */
  addAffected(type: BlobType, id: ObjectId, packId: ObjectId | undefined, path: AffectedPath): void {
    const at = this.#byBlob.get(type + id) ?? (packId === undefined ? undefined : this.#byPack.get(packId));
    const finding = at === undefined ? undefined : this.#findings[at];
    if (finding === undefined) return;
    const last = finding.affected.at(-1);
    // A file with many blobs of one lost pack is one path.
    if (last?.path === path.path && last.snapshotId === path.snapshotId) return;
    finding.affectedCount++;
    if (finding.affected.length < maxAffectedListed) finding.affected.push(path);
  }

  /** Damage first. */
  toFindings(): Finding[] {
    return this.#findings.toSorted((a, b) => Number(a.severity === 'warning') - Number(b.severity === 'warning'));
  }
}
