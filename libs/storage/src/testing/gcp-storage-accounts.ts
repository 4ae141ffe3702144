import { createPublicKey, generateKeyPairSync, type KeyObject, randomBytes, verify } from 'node:crypto';
import { Refusal } from './gcp-storage-wire.ts';

/**
 * The service accounts of the stand-in for Google Cloud Storage, and its tokens: for an assertion that is signed by an account's key
 * (RFC 7523, as Google describes it for server-to-server applications), good for a while, and compared with the rights of the account.
 */
export type GcpPermission =
  | 'storage.objects.create'
  | 'storage.objects.get'
  | 'storage.objects.list'
  | 'storage.objects.delete'
  | 'storage.objects.setRetention'
  | 'storage.buckets.get';

/** The fields that Google's file has. */
export interface TestServiceAccountKey {
  readonly type: 'service_account';
  readonly project_id: string;
  readonly private_key_id: string;
  readonly private_key: string;
  readonly client_email: string;
  readonly client_id: string;
  readonly auth_uri: string;
  readonly token_uri: string;
  readonly universe_domain: string;
}

export const allPermissions: readonly GcpPermission[] = [
  'storage.objects.create',
  'storage.objects.get',
  'storage.objects.list',
  'storage.objects.delete',
];

interface Granted {
  readonly account: GcpAccount;
  readonly scopes: readonly string[];
  readonly expiresAtMs: number;
}

interface TokenAnswer {
  readonly status: number;
  readonly body: object;
}

const grantType = 'urn:ietf:params:oauth:grant-type:jwt-bearer';
const scopePrefix = 'https://www.googleapis.com/auth/';
const knownScopes = ['cloud-platform', 'devstorage.full_control', 'devstorage.read_write', 'devstorage.read_only'];
/** How far clocks may differ. */
const clockToleranceS = 300;
const longestLifeS = 3600;

export class GcpAccount {
  readonly email: string;
  readonly #permissions: readonly GcpPermission[];

  constructor(email: string, permissions: readonly GcpPermission[]) {
    this.email = email;
    this.#permissions = permissions;
  }

  assertMay(permission: GcpPermission, what: string): void {
    if (this.#permissions.includes(permission)) return;
    const denied = `Permission '${permission}' denied on resource (or it may not exist).`;
    throw new Refusal(403, 'forbidden', `${this.email} does not have ${permission} access ${what}. ${denied}`);
  }
}

export class GcpAccounts {
  grantedTokenCount = 0;
  readonly #tokenLifeS: number;
  readonly #accounts = new Map<
    string,
    { readonly account: GcpAccount; readonly publicKey: KeyObject; readonly keyId: string; readonly audience: string }
  >();
  readonly #granted = new Map<string, Granted>();
  readonly #machine = new GcpAccount('machine@developer.gserviceaccount.com', allPermissions);

  constructor(tokenLifeS: number) {
    this.#tokenLifeS = tokenLifeS;
  }

  add(audience: string, permissions: readonly GcpPermission[] = allPermissions): TestServiceAccountKey {
    const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
    const id = randomBytes(4).toString('hex');
    const email = `tester-${id}@holdfast-test.iam.gserviceaccount.com`;
    const keyId = randomBytes(20).toString('hex');
    this.#accounts.set(email, { account: new GcpAccount(email, permissions), publicKey: createPublicKey(privateKey), keyId, audience });
    return {
      type: 'service_account',
      project_id: 'holdfast-test',
      private_key_id: keyId,
      private_key: privateKey.export({ type: 'pkcs8', format: 'pem' }),
      client_email: email,
      client_id: '100000000000000000000',
      auth_uri: 'https://accounts.google.com/o/oauth2/auth',
      token_uri: audience,
      universe_domain: 'googleapis.com',
    };
  }

  issueToken({ client_email: email }: TestServiceAccountKey): string {
    const known = this.#accounts.get(email);
    if (known === undefined) throw new Error('no such account');
    return this.#issue(known.account, ['devstorage.full_control']);
  }

  expireTokens(): void {
    this.#granted.clear();
  }

  grant(form: URLSearchParams): TokenAnswer {
    if (form.get('grant_type') !== grantType)
      return refusal('unsupported_grant_type', `Invalid grant_type: ${String(form.get('grant_type'))}`);
    const [head, claims, signature, more] = (form.get('assertion') ?? '').split('.');
    const header = jsonOf(head);
    const { iss, scope, aud, iat, exp } = jsonOf(claims);
    if (signature === undefined || more !== undefined || header['alg'] !== 'RS256' || header['typ'] !== 'JWT') {
      return refusal('invalid_grant', 'Invalid JWT');
    }
    const known = this.#accounts.get(String(iss));
    if (known === undefined) return refusal('invalid_grant', 'Invalid grant: account not found');
    const isSigned = verify(
      'sha256',
      Buffer.from(`${String(head)}.${String(claims)}`),
      known.publicKey,
      Buffer.from(signature, 'base64url'),
    );
    if (!isSigned || header['kid'] !== known.keyId) return refusal('invalid_grant', 'Invalid JWT Signature.');
    if (aud !== known.audience) return refusal('invalid_grant', 'Invalid JWT: Failed audience check.');
    const nowS = Date.now() / 1000;
    const [issuedS, expiresS] = [Number(iat), Number(exp)];
    const isTimely = issuedS < nowS + clockToleranceS && expiresS > nowS - clockToleranceS && expiresS - issuedS <= longestLifeS;
    if (!isTimely) {
      const words =
        'Token must be a short-lived token (60 minutes) and in a reasonable timeframe. Check your iat and exp values in the JWT claim.';
      return refusal('invalid_grant', `Invalid JWT: ${words}`);
    }
    const scopes = String(scope)
      .split(' ')
      .map((name) => (name.startsWith(scopePrefix) ? name.slice(scopePrefix.length) : '?'));
    if (scopes.some((name) => !knownScopes.includes(name)))
      return refusal('invalid_scope', `Invalid OAuth scope or ID token audience provided.`);
    this.grantedTokenCount += 1;
    return this.#answer(this.#issue(known.account, scopes));
  }

  grantToMachine(): TokenAnswer {
    this.grantedTokenCount += 1;
    return this.#answer(this.#issue(this.#machine, ['cloud-platform']));
  }

  /** Whose token it is that a request brings. */
  accountOf(authorization: string | undefined): GcpAccount {
    const [, token] = /^Bearer (\S+)$/u.exec(authorization ?? '') ?? [];
    if (token === undefined) throw new Refusal(401, 'required', 'Anonymous caller does not have storage access. Login Required');
    const granted = this.#granted.get(token);
    if (granted === undefined || granted.expiresAtMs < Date.now()) throw new Refusal(401, 'authError', 'Invalid Credentials');
    if (granted.scopes.every((scope) => scope === 'devstorage.read_only')) {
      throw new Refusal(403, 'insufficientPermissions', 'Insufficient Permission');
    }
    return granted.account;
  }

  #issue(account: GcpAccount, scopes: readonly string[]): string {
    const token = `ya29.c.${randomBytes(160).toString('base64url')}`;
    this.#granted.set(token, { account, scopes, expiresAtMs: Date.now() + this.#tokenLifeS * 1000 });
    return token;
  }

  #answer(token: string): TokenAnswer {
    return { status: 200, body: { access_token: token, expires_in: this.#tokenLifeS, token_type: 'Bearer' } };
  }
}

function refusal(error: string, description: string): TokenAnswer {
  return { status: 400, body: { error, error_description: description } };
}

function jsonOf(part: string | undefined): Record<string, unknown> {
  try {
    return JSON.parse(Buffer.from(part ?? '', 'base64url').toString()) as Record<string, unknown>;
  } catch {
    return {};
  }
}
