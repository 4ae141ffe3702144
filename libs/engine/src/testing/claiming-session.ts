import { hash } from 'node:crypto';
import { openBlobClaims, type SharedClaims } from '../threads/blob-claims.ts';
import type { OpenThreadSession } from '../threads/thread-session.ts';

/**
 * A session that claims as many ids as it is told and says how many it got: the same ids in every thread.
 *
 * @public loaded by thread-main.ts, by its URL
 */
export const openThreadSession: OpenThreadSession = (data) => {
  const claims = openBlobClaims(data as SharedClaims);
  return {
    handle(count) {
      let claimed = 0;
      for (let nth = 0; nth < Number(count); nth++) {
        if (claims.claim(new Uint8Array(hash('sha256', String(nth), 'buffer')))) claimed++;
      }
      return { output: claimed };
    },
    close() {},
  };
};
