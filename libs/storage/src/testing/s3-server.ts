import { access, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir, userInfo } from 'node:os';
import { delimiter, join } from 'node:path';
import { CreateBucketCommand, S3Client } from '@aws-sdk/client-s3';
import { connects, freePort, type ServerProgram, startServerProgram } from './server-program.ts';

/**
 * A real S3 server with real signatures: OpenStack Swift of Debian with its s3api filter. The proxy, which speaks S3, is one process,
 * and what stores accounts, containers and objects is another, each with its forks; a memcached is beside them. Ports, settings and data
 * are this one's own.
 */
export interface S3Server extends AsyncDisposable {
  /** Plain http, paths with the bucket in them. */
  readonly endpoint: string;
  readonly port: number;
  readonly region: string;
  /** A name that it takes for its own: buckets may stand before it. */
  readonly domain: string;
  /** May do everything. */
  readonly credentials: { readonly accessKeyId: string; readonly secretAccessKey: string };
  /** Known to the server, and without any right. */
  readonly strangerCredentials: { readonly accessKeyId: string; readonly secretAccessKey: string };
  /** Makes a bucket with a name of its own. */
  makeBucket(): Promise<string>;
  /** From some hundred bytes on; counted by what the server remembers, which may be a minute old. */
  setQuota(bucket: string, quotaBytes: number): Promise<void>;
  /** Puts an object of any name, as somebody else might. */
  putForeign(bucket: string, key: string): Promise<void>;
  /**
   * SIGKILL for what takes the requests. What lies behind goes on: with one copy of everything, Swift loses the entry in a listing whose
   * object was being stored when all of it died.
   */
  kill(): Promise<void>;
  /** After a kill, with the same data at the same port. */
  start(): Promise<void>;
}

const region = 'us-east-1';
const domain = 's3.test';
const credentials = { accessKeyId: 'test:tester', secretAccessKey: 'testing' };
const strangerCredentials = { accessKeyId: 'test:stranger', secretAccessKey: 'strange' };

/** What Debian's Python has Swift for; another one may stand before it on the PATH. */
const python = '/usr/bin/python3';
const packages = 'swift swift-proxy swift-account swift-container swift-object memcached';
const services = ['account', 'container', 'object'] as const;

export async function startS3Server(): Promise<S3Server> {
  await assertInstalled();
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-swift-'));
  const ports = { proxy: await freePort(), account: await freePort(), container: await freePort(), object: await freePort() };
  const cachePort = await freePort();
  await writeSettings(folder, ports, cachePort);
  const user = userInfo().username;
  const cache = await startServerProgram({
    program: 'memcached',
    args: ['-u', user, '-l', '127.0.0.1', '-p', String(cachePort), '-U', '0'],
    answers: () => connects(cachePort),
  });
  const endpoint = `http://127.0.0.1:${ports.proxy}`;
  const swift = async (names: readonly (keyof Ports)[], answers: () => Promise<void>): Promise<ServerProgram> =>
    startServerProgram({
      program: python,
      args: [join(folder, 'launch.py'), folder, ...names.map((name) => `${name}:${ports[name]}`)],
      answers,
    });
  const store = await swift(services, async () => {
    await Promise.all(services.map((name) => connects(ports[name])));
  });
  // The proxy has the most to do: it runs twice.
  const front = await swift(['proxy', 'proxy'], () => assertOk(`${endpoint}/healthcheck`));
  const client = new S3Client({ endpoint, region, credentials, forcePathStyle: true });
  let bucketCount = 0;
  return {
    endpoint,
    port: ports.proxy,
    region,
    domain,
    credentials,
    strangerCredentials,
    async makeBucket() {
      bucketCount += 1;
      const bucket = `bucket-${bucketCount}`;
      await client.send(new CreateBucketCommand({ Bucket: bucket }));
      return bucket;
    },
    async setQuota(bucket, quotaBytes) {
      await swiftRequest(endpoint, 'POST', bucket, { 'x-container-meta-quota-bytes': String(quotaBytes) });
    },
    async putForeign(bucket, key) {
      await swiftRequest(endpoint, 'PUT', `${bucket}/${encodeURIComponent(key)}`, {}, 'foreign');
    },
    kill: () => front.kill(),
    start: () => front.start(),
    async [Symbol.asyncDispose]() {
      client.destroy();
      await front[Symbol.asyncDispose]();
      await store[Symbol.asyncDispose]();
      await cache[Symbol.asyncDispose]();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

async function assertInstalled(): Promise<void> {
  const places = (process.env['PATH'] ?? '').split(delimiter);
  for (const program of ['swift-proxy-server', 'swift-account-server', 'swift-container-server', 'swift-object-server', 'memcached']) {
    const found = await Promise.allSettled(places.map((place) => access(join(place, program))));
    if (found.every(({ status }) => status === 'rejected')) {
      throw new Error(`${program} is not here; on Debian: apt-get install --no-install-recommends ${packages}`);
    }
  }
}

async function assertOk(url: string): Promise<void> {
  const response = await fetch(url);
  if (!response.ok) throw new Error(`${url} answers ${response.status}`);
}

/** By Swift's own protocol, for what S3 has no words for. */
async function swiftRequest(
  endpoint: string,
  method: string,
  path: string,
  headers: Readonly<Record<string, string>>,
  body?: string,
): Promise<void> {
  const { accessKeyId, secretAccessKey } = credentials;
  const login = await fetch(`${endpoint}/auth/v1.0`, { headers: { 'x-auth-user': accessKeyId, 'x-auth-key': secretAccessKey } });
  const [url, token] = [login.headers.get('x-storage-url'), login.headers.get('x-auth-token')];
  if (url === null || token === null) throw new Error(`swift gave no token: ${login.status}`);
  const response = await fetch(`${url}/${path}`, {
    method,
    headers: { ...headers, 'x-auth-token': token },
    ...(body === undefined ? {} : { body }),
  });
  if (!response.ok) throw new Error(`swift answers ${response.status} to ${method} ${path}`);
}

type Ports = Readonly<Record<'proxy' | (typeof services)[number], number>>;

async function writeSettings(folder: string, ports: Ports, cachePort: number): Promise<void> {
  const user = userInfo().username;
  await mkdir(join(folder, 'devices', 'd1'), { recursive: true });
  await writeFile(join(folder, 'swift.conf'), '[swift-hash]\nswift_hash_path_suffix = holdfast\nswift_hash_path_prefix = holdfast\n');
  const common = (name: keyof Ports): string =>
    `[DEFAULT]\nbind_ip = 127.0.0.1\nbind_port = ${ports[name]}\nuser = ${user}\nswift_dir = ${folder}\nworkers = 0\nlog_name = ${name}\nlog_level = ERROR\n`;
  for (const name of services) {
    const devices = `devices = ${join(folder, 'devices')}\nmount_check = false\ndisable_fallocate = true\n`;
    await writeFile(
      join(folder, `${name}.conf`),
      `${common(name)}${devices}[pipeline:main]\npipeline = ${name}-server\n[app:${name}-server]\nuse = egg:swift#${name}\nlog_requests = false\n`,
    );
  }
  await writeFile(join(folder, 'proxy.conf'), `${common('proxy')}${proxySettings(cachePort)}`);
  await writeFile(join(folder, 'launch.py'), launcher);
}

function proxySettings(cachePort: number): string {
  const filters = {
    catch_errors: '',
    gatekeeper: '',
    healthcheck: '',
    cache: `memcache_servers = 127.0.0.1:${cachePort}\n`,
    listing_formats: '',
    bulk: '',
    s3api: `s3_acl = false\nallow_multipart_uploads = true\nlocation = ${region}\nstorage_domain = ${domain}\n`,
    tempauth: 'user_test_tester = testing .admin\nuser_test_stranger = strange\nstorage_url_scheme = http\n',
    copy: '',
    container_quotas: '',
    slo: '',
    dlo: '',
  };
  const names = Object.keys(filters);
  const sections = Object.entries(filters).map(
    ([name, settings]) => `[filter:${name}]\nuse = egg:swift#${name === 'cache' ? 'memcache' : name}\n${settings}`,
  );
  return [
    `[pipeline:main]\npipeline = ${names.join(' ')} proxy-server\n`,
    '[app:proxy-server]\nuse = egg:swift#proxy\naccount_autocreate = true\n',
    ...sections,
  ].join('');
}

/**
 * Swift reads /etc/swift/swift.conf whatever its other settings say, so that name is changed before anything reads it. Rings with one
 * device each are made at the first start. Services named twice share their port.
 */
const launcher = `
import ctypes, os, signal, sys
import eventlet
from swift.common import utils
folder, ports = sys.argv[1], [pair.split(':') for pair in sys.argv[2:]]
utils.SWIFT_CONF_FILE = os.path.join(folder, 'swift.conf')
utils.eventlet_monkey_patch()
from swift.common import wsgi
from swift.common.ring import RingBuilder

def serve(name, sock):
    conf, logger, _ = wsgi._initrp(os.path.join(folder, name + '.conf'), name + '-server')
    wsgi.run_server(conf, logger, sock)

for name, port in ports:
    path = os.path.join(folder, name + '.ring.gz')
    if name != 'proxy' and not os.path.exists(path):
        builder = RingBuilder(4, 1, 1)
        builder.add_dev({'id': 0, 'region': 1, 'zone': 1, 'weight': 1, 'device': 'd1',
                         'ip': '127.0.0.1', 'port': int(port), 'replication_ip': '127.0.0.1', 'replication_port': int(port)})
        builder.rebalance()
        builder.get_ring().save(path)

sockets = {port: eventlet.listen(('127.0.0.1', int(port)), backlog=1024) for _, port in dict(ports).items()}
for name, port in ports[1:]:
    if os.fork() == 0:
        # Gone with this process, however it ends.
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)
        serve(name, sockets[port])
serve(ports[0][0], sockets[ports[0][1]])
`;
