import type { RunOutcome } from '@holdfast/database/runs';
import { archive } from '@holdfast/engine/archiver';
import { ApplicationSource, applicationFolder } from '@holdfast/sources/application-data/application-source';
import { encodeApplicationManifest, type ApplicationManifest, type ManifestPart } from '@holdfast/sources/application-data/manifest';
import type { Part, PartMoment } from '@holdfast/sources/application-data/part';
import { readmeText } from '@holdfast/sources/application-data/readme-text';
import type { ApplicationDataSourceOptions } from '@holdfast/sources/source-options/application-data';
import { basename } from 'node:path';
import { FrozenApplication } from '../application-data/frozen-application.ts';
import { openApplication, type OpenedApplication } from '../application-data/open-application.ts';
import { thawFormer } from '../application-data/thaw-overdue.ts';
import type { BackupStoring } from '../backup-storing.ts';
import { backupOutcome } from '../run-outcomes.ts';
import type { RunInHand } from '../run-with-claim.ts';
import { makeScratchFolder } from '../scratch-folder.ts';
import type { BackupWay } from './backup-way.ts';

/**
 * One consistent set in one snapshot: all parts are opened, the application is frozen, every part takes its moment, and the application goes on
 * before anything is uploaded; only files of the machine are read while it stands still, unless its hooks say otherwise.
 * Codes: those of openApplication, of FrozenApplication, of the parts and of archive.
 */
export const applicationDataWay: BackupWay<ApplicationDataSourceOptions> = {
  backUp: async (run, work, options, storing) => {
    const { context, claim, logger } = run;
    await thawFormer(context, claim);
    await using scratch = await makeScratchFolder(context.config.scratchDir, claim, logger);
    const ending = new AbortController();
    const signal = AbortSignal.any([run.signal, ending.signal]);
    await using opened = await openApplication(options, { context, configId: work.backupConfigId, scratch: scratch.path, signal });
    const frozenRun = { run, businessEntityId: work.businessEntityId, backupConfigId: work.backupConfigId };
    await using frozen = options.hooks === undefined ? null : await FrozenApplication.freeze(frozenRun, options.hooks);
    frozen?.signal.addEventListener('abort', () => ending.abort(frozen.signal.reason), { once: true });
    const moments = await takeMoments(opened.parts, signal);
    const waitsForPaths = opened.files.length > 0 && options.hooks?.thawWhen === 'paths_read';
    if (!waitsForPaths) await frozen?.thaw();
    return await store(run, { opened, frozen, moments, signal }, storing);
  },
};

interface TakenSet {
  readonly opened: OpenedApplication;
  readonly frozen: FrozenApplication | null;
  readonly moments: ReadonlyMap<Part, PartMoment>;
  readonly signal: AbortSignal;
}

/** All at once; when one fails the others are told. */
async function takeMoments(parts: readonly Part[], signal: AbortSignal): Promise<ReadonlyMap<Part, PartMoment>> {
  const failed = new AbortController();
  const either = AbortSignal.any([signal, failed.signal]);
  const taken = await Promise.allSettled(
    parts.map(async (part) => {
      try {
        return [part, await part.takeMoment(either)] as const;
      } catch (error) {
        failed.abort(error);
        throw error;
      }
    }),
  );
  either.throwIfAborted();
  return new Map(taken.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : [])));
}

async function store(run: RunInHand<'backup'>, set: TakenSet, storing: BackupStoring): Promise<RunOutcome<'backup'>> {
  const { opened, frozen, moments, signal } = set;
  let manifest: ApplicationManifest | undefined;
  const source = new ApplicationSource({
    files: opened.files.map((one) => one.source),
    hidden: opened.hidden,
    parts: opened.parts,
    readme: readmeOf(opened),
    manifest: async () => encodeApplicationManifest((manifest = await manifestOf(run.claim.id, set))),
    // The run's end waits for it, and tells what went wrong.
    onFilesRead: () => void frozen?.thaw(),
    timeMs: Date.now(),
  });
  try {
    const parent = storing.parentOf(source.paths);
    const result = await archive({
      ...storing.options,
      signal,
      source,
      ...(parent === undefined ? {} : { parent }),
      excludes: opened.files.flatMap(({ excludes }) => excludes),
      onProgress: run.onProgress,
    });
    const unthawed = frozen === null ? null : await frozen.thaw();
    const warnings = [...warningsOf(moments, manifest), ...(unthawed === null ? [] : [unthawed.message]), ...result.warnings];
    const more = {
      hostname: run.context.hostname,
      parentId: parent?.id ?? null,
      parts: manifest?.parts ?? [],
      hooks: frozen?.facts() ?? null,
    };
    return backupOutcome(storing.options.repository.storage.location, { ...result, warnings }, more);
  } finally {
    await source.close();
  }
}

function readmeOf({ files, parts, databasePaths }: OpenedApplication): string {
  const described = parts.map(({ name, kind }) => {
    const path = databasePaths.get(name);
    return { name, kind, path, file: path === undefined ? undefined : basename(path) };
  });
  return readmeText(
    described,
    files.map(({ name, source }) => ({ name, kind: 'paths', paths: source.paths })),
  );
}

async function manifestOf(jobId: string, { opened, frozen, moments }: TakenSet): Promise<ApplicationManifest> {
  // Everything else is read: it is on its way, and its time is to be in here.
  await frozen?.thaw();
  const { frozenAt = null, thawedAt = null } = frozen?.facts() ?? {};
  const parts: ManifestPart[] = [];
  for (const part of opened.parts) {
    const { name, kind } = part;
    const { takenAt = '', warnings = [] } = moments.get(part) ?? {};
    parts.push({ name, kind, place: `${applicationFolder}/${name}`, takenAt, warnings, facts: await part.facts() });
  }
  const paths = opened.files.map(({ name, source }) => ({ name, kind: 'paths' as const, paths: source.paths }));
  return { format: 'holdfast-application-data', version: 1, jobId, frozenAt, thawedAt, parts: [...parts, ...paths] };
}

/** Of parts, and what a look at copies of databases has found: they are kept, and the run says so. */
function warningsOf(moments: ReadonlyMap<Part, PartMoment>, manifest: ApplicationManifest | undefined): string[] {
  const told = [...moments].flatMap(([{ name }, { warnings }]) => warnings.map((warning) => `part ${name}: ${warning}`));
  const found = (manifest?.parts ?? []).flatMap((part) => {
    const findings = 'facts' in part ? part.facts['findings'] : undefined;
    return Array.isArray(findings) ? findings.map((finding) => `part ${part.name}: ${String(finding)}`) : [];
  });
  return [...told, ...found];
}
