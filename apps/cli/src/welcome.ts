import { join } from 'node:path';
import { apiPrefix } from './api-client.ts';
import type { Checkout } from './checkout.ts';
import { boardPath, docsPath } from './tour/look-around.ts';
import type { TourMade } from './tour-record.ts';

export interface WelcomeFacts {
  readonly checkout: Checkout;
  readonly apiUrl: string;
  /** Undefined when no tour has succeeded here. */
  readonly made: TourMade | undefined;
}

/** What a person needs who has just started Holdfast; every command works when it is pasted, from any folder. */
export function welcomeText(facts: WelcomeFacts): string {
  const { root, stateFolder } = facts.checkout;
  const setting = stateFolder === join(root, '.holdfast') ? '' : `HOLDFAST_STATE_DIR=${shellQuote(stateFolder)} `;
  const holdfast = `${setting}npm --prefix ${shellQuote(root)} --silent run holdfast --`;
  const curl = `curl -s -H "authorization: Bearer $TOKEN"`;
  const api = `${facts.apiUrl}${apiPrefix}`;
  const startBackup =
    facts.made === undefined
      ? `${curl} ${api}/status`
      : `${curl} -H 'content-type: application/json' -d '{"backupConfigId":"${facts.made.configId}"}' ${api}/jobs`;
  const repository =
    facts.made === undefined
      ? []
      : [
          '',
          'The repository is an ordinary restic repository (format 2):',
          `  path      ${facts.made.repositoryFolder}`,
          `  password  ${holdfast} repository-password ${facts.made.repositoryId}`,
        ];
  return [
    '',
    'Holdfast is up:',
    `  API       ${api}`,
    `  docs      ${facts.apiUrl}${docsPath}`,
    `  board     ${facts.apiUrl}${boardPath}  (sign in with a token)`,
    `  logs      ${join(stateFolder, 'logs')}`,
    '',
    'A token for twelve hours, and three calls (jobs so far, one more piece of work, events as they happen):',
    `  TOKEN=$(${holdfast} token)`,
    `  ${curl} '${api}/jobs?limit=3'`,
    `  ${startBackup}`,
    `  ${curl} -N '${api}/events?after=0'`,
    ...repository,
    '',
    'Ctrl-C stops everything.',
    '',
  ].join('\n');
}

function shellQuote(text: string): string {
  return /^[\w./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
}
