import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { createServer as createHttpServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import { text } from 'node:stream/consumers';

/**
 * Stands in for the token servers of Entra ID and of a machine of Azure, which exist nowhere else. The tokens have the claims that Azurite
 * looks at with `--oauth basic` (issuer, audience, times); their signature it does not check.
 */
export interface EntraServer extends AsyncDisposable {
  /** https://127.0.0.1:port */
  readonly authority: string;
  /** http://127.0.0.1:port */
  readonly machineOrigin: string;
  readonly application: { readonly tenantId: string; readonly clientId: string; readonly clientSecret: string };
  /** Of the machine, where it is asked for by name. */
  readonly identityId: string;
  /** Tokens that were given out. */
  readonly given: string[];
  /** Of tokens from now on, in seconds. */
  setLife(lifeS: number): void;
  /** Answers in place of the next token. */
  refuseOnce(status: number, body: object): void;
}

const application = {
  tenantId: '5f3c1f6e-0f0b-4c55-8a63-7f6f2a1b9c01',
  clientId: '0b8c2f5d-8a0e-4c1e-9a55-2d3f4b5c6d02',
  clientSecret: 'a-secret~of.the_application-12345678',
};
const identityId = '9d7e6c5b-4a39-4828-9716-a5b4c3d2e103';

export async function startEntraServer(certificate: { readonly path: string; readonly keyPath: string }): Promise<EntraServer> {
  let lifeS = 3600;
  const given: string[] = [];
  const refusals: { readonly status: number; readonly body: object }[] = [];

  const answer = (response: ServerResponse, status: number, body: object): void => {
    response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
  };
  const give = (response: ServerResponse, expires: (seconds: number) => number | string): void => {
    const refused = refusals.shift();
    if (refused !== undefined) return answer(response, refused.status, refused.body);
    const nowS = Math.floor(Date.now() / 1000);
    const claims = { aud: 'https://storage.azure.com', iss: `https://sts.windows.net/${application.tenantId}/`, iat: nowS, nbf: nowS - 60 };
    const parts = [
      { alg: 'RS256', typ: 'JWT' },
      { ...claims, exp: nowS + lifeS, uti: String(given.length) },
    ];
    const token = [...parts.map((part) => Buffer.from(JSON.stringify(part)).toString('base64url')), 'signature'].join('.');
    given.push(token);
    answer(response, 200, { access_token: token, expires_in: expires(lifeS), token_type: 'Bearer' });
  };
  const onApplication = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const form = Object.fromEntries(new URLSearchParams(await text(request)));
    if (request.url !== `/${application.tenantId}/oauth2/v2.0/token`) return answer(response, 404, { error: 'invalid_tenant' });
    const isRight = form['client_id'] === application.clientId && form['client_secret'] === application.clientSecret;
    const description = `AADSTS7000215: Invalid client secret provided for app '${application.clientId}', not ${String(form['client_secret'])}`;
    if (!isRight) return answer(response, 401, { error: 'invalid_client', error_description: description });
    const isAsked = form['grant_type'] === 'client_credentials' && form['scope'] === 'https://storage.azure.com/.default';
    if (request.method !== 'POST' || !isAsked) return answer(response, 400, { error: 'invalid_request' });
    give(response, (seconds) => seconds);
  };
  const onMachine = (request: IncomingMessage, response: ServerResponse): void => {
    const { pathname, searchParams } = new URL(request.url ?? '', 'http://host');
    const isAsked = searchParams.get('resource') === 'https://storage.azure.com/' && searchParams.get('api-version') === '2018-02-01';
    if (request.headers['metadata'] !== 'true' || pathname !== '/metadata/identity/oauth2/token' || !isAsked) {
      return answer(response, 400, { error: 'invalid_request' });
    }
    const wanted = searchParams.get('client_id');
    if (wanted !== null && wanted !== identityId) {
      return answer(response, 400, { error: 'invalid_request', error_description: 'Identity not found' });
    }
    give(response, String);
  };
  const [cert, key] = [await readFile(certificate.path), await readFile(certificate.keyPath)];
  const servers: [Server, Server] = [
    createHttpsServer({ cert, key }, (request, response) => void onApplication(request, response)),
    createHttpServer(onMachine),
  ];
  const [applicationPort, machinePort] = await Promise.all(servers.map(listen));
  return {
    authority: `https://127.0.0.1:${String(applicationPort)}`,
    machineOrigin: `http://127.0.0.1:${String(machinePort)}`,
    application,
    identityId,
    given,
    setLife: (seconds) => (lifeS = seconds),
    refuseOnce: (status, body) => void refusals.push({ status, body }),
    async [Symbol.asyncDispose]() {
      for (const server of servers) {
        const closed = once(server, 'close');
        server.close();
        server.closeAllConnections();
        await closed;
      }
    },
  };
}

async function listen(server: Server): Promise<number> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('the token server has no port');
  return address.port;
}
