import type { PartFacts } from './part.ts';

/**
 * What lies in `/application-data/manifest.json`:
 *
 *     { "format": "holdfast-application-data", "version": 1, "jobId": "...",
 *       "frozenAt": "2026-05-01T03:00:00.000Z", "thawedAt": "2026-05-01T03:00:01.500Z",
 *       "parts": [{ "name": "db", "kind": "sqlite", "place": "/application-data/db", "takenAt": "...", "warnings": [], "facts": { ... } },
 *                 { "name": "uploads", "kind": "paths", "paths": ["/srv/app/uploads"] }] }
 *
 * Times are the worker's clock. `frozenAt` and `thawedAt` are null without hooks; `thawedAt` also when the application could not be thawed. No secret is in it.
 */
export interface ApplicationManifest {
  readonly format: 'holdfast-application-data';
  readonly version: 1;
  readonly jobId: string;
  readonly frozenAt: string | null;
  readonly thawedAt: string | null;
  readonly parts: readonly (ManifestPart | ManifestPaths)[];
}

export interface ManifestPart {
  readonly name: string;
  readonly kind: string;
  /** The folder in the snapshot. */
  readonly place: string;
  readonly takenAt: string;
  readonly warnings: readonly string[];
  readonly facts: PartFacts;
}

export interface ManifestPaths {
  readonly name: string;
  readonly kind: 'paths';
  /** The real ones, at which the files lie in the snapshot. */
  readonly paths: readonly string[];
}

export function encodeApplicationManifest(manifest: ApplicationManifest): string {
  return `${JSON.stringify(manifest, null, 2)}\n`;
}
