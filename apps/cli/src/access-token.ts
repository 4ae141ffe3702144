import { createHmac } from 'node:crypto';

export const roles = ['viewer', 'operator', 'admin'] as const;
export type Role = (typeof roles)[number];

export interface TokenClaims {
  readonly subject: string;
  readonly role: Role;
  /** Ids of the entities that the token may touch, or all of them. */
  readonly entities: readonly string[] | '*';
}

/** A JWT as the API checks it: HS256 over the claims sub, role, entities, iat and exp (seconds since 1970). */
export function signAccessToken(claims: TokenClaims, options: { secret: string; now: Date; lifetimeSeconds: number }): string {
  const issuedAt = Math.floor(options.now.getTime() / 1000);
  const payload = {
    sub: claims.subject,
    role: claims.role,
    entities: claims.entities,
    iat: issuedAt,
    exp: issuedAt + options.lifetimeSeconds,
  };
  const signed = `${encode({ alg: 'HS256', typ: 'JWT' })}.${encode(payload)}`;
  return `${signed}.${createHmac('sha256', options.secret).update(signed).digest('base64url')}`;
}

function encode(value: unknown): string {
  return Buffer.from(JSON.stringify(value)).toString('base64url');
}
