import type { OwnerMapping } from '@holdfast/engine/owner-mapping';
import { HoldfastError } from '@holdfast/errors/holdfast-error';
import type { Owners } from '@holdfast/sources/file-recovery-options';
import { loadOwnerIds } from '@holdfast/sources/owner-names';

/** The numbers that a request's owners have at this worker. Code: request_invalid for a name that it does not know. */
export async function resolveOwners(owners: Owners): Promise<OwnerMapping> {
  if (typeof owners === 'string') return owners;
  const known = await loadOwnerIds();
  return {
    users: idsOf('users', owners.users, known.users),
    groups: idsOf('groups', owners.groups, known.groups),
  };
}

function idsOf(
  kind: 'users' | 'groups',
  owners: Readonly<Record<string, string | number>> = {},
  known: ReadonlyMap<string, number>,
): Map<string, number> {
  return new Map(
    Object.entries(owners).map(([from, to]) => {
      const id = typeof to === 'number' ? to : (known.get(to) ?? (/^\d{1,10}$/.test(to) ? Number(to) : undefined));
      if (id !== undefined && id <= maxOwnerId) return [from, id];
      throw new HoldfastError('request_invalid', `owners.${kind}: this worker knows no ${kind === 'users' ? 'user' : 'group'} ${to}`, {
        hint: 'give a number, or a name that is in /etc/passwd or /etc/group of the worker that recovers',
      });
    }),
  );
}

/** The number above it stands for nobody in chown(2). */
const maxOwnerId = 0xffff_fffe;
