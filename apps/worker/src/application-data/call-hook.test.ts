import { chmod, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseAllowedHosts } from '@holdfast/policy/allowed-hosts';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { callHook, type HookCall } from './call-hook.ts';
import { maxOutputBytes } from './hook-output.ts';

let folder: string;
let hooksDir: string;
let stack: AsyncDisposableStack;

beforeEach(async () => {
  stack = new AsyncDisposableStack();
  folder = await mkdtemp(join(tmpdir(), 'holdfast-hooks-'));
  stack.defer(() => rm(folder, { recursive: true, force: true }));
  hooksDir = join(folder, 'hooks');
  await mkdir(hooksDir, { mode: 0o755 });
});
afterEach(async () => {
  vi.unstubAllEnvs();
  await stack.disposeAsync();
});

const call = (more: Partial<HookCall> = {}): HookCall => ({
  action: 'freeze',
  jobId: 'job1',
  configId: 'config1',
  hooksDir,
  hookHosts: parseAllowedHosts('127.0.0.1,localhost'),
  token: null,
  secrets: [],
  signal: new AbortController().signal,
  ...more,
});
const program = (name: string, timeoutSeconds = 10) => ({ kind: 'program', name, timeoutSeconds }) as const;
const script = async (name: string, text: string, mode = 0o755): Promise<void> => {
  await writeFile(join(hooksDir, name), `#!/bin/sh\n${text}\n`);
  await chmod(join(hooksDir, name), mode);
};

describe('a program', () => {
  test('learns what it is called for, and nothing of the worker', async () => {
    vi.stubEnv('HOLDFAST_MASTER_KEY', 'a secret');
    await script('tell', 'echo "$# $HOLDFAST_HOOK $HOLDFAST_JOB_ID $HOLDFAST_CONFIG_ID"; env');
    const { output } = await callHook(program('tell'), call());
    expect(output).toContain('0 freeze job1 config1');
    expect(output).not.toContain('a secret');
    expect(output).not.toContain('DATABASE');
  });

  test('is shown by the end of what it said, without secrets', async () => {
    await script('talk', `seq 1 5000; echo 'token=abc123 Authorization: Bearer xyz postgres://me:pw@db/x known-secret' >&2`);
    const { output } = await callHook(program('talk'), call({ secrets: ['known-secret'] }));
    expect(output.length).toBeLessThanOrEqual(maxOutputBytes);
    expect(output).toContain('5000');
    expect(output).not.toMatch(/abc123|xyz|me:pw|known-secret/u);
  });

  test('that leaves something running is over when it has ended itself', async () => {
    await script('background', 'sleep 30 & echo done');
    expect(await callHook(program('background'), call())).toEqual({ output: 'done' });
  });

  test.each([
    ['is not there', async () => undefined],
    ['is not executable', () => script('hook', 'true', 0o644)],
    ['may be changed by others', () => script('hook', 'true', 0o777)],
    ['is a folder', () => mkdir(join(hooksDir, 'hook'))],
    ['leads elsewhere', () => symlink('/bin/true', join(hooksDir, 'hook'))],
    [
      'lies in a folder that others may change',
      async () => {
        await script('hook', 'true');
        await chmod(hooksDir, 0o777);
      },
    ],
  ])('is not run when it %s', async (_, make) => {
    await make();
    await expect(callHook(program('hook'), call())).rejects.toMatchObject({ code: 'hook_not_found' });
  });

  test('is not looked for without a folder', async () => {
    await expect(callHook(program('hook'), call({ hooksDir: undefined }))).rejects.toMatchObject({
      code: 'hook_not_found',
      message: expect.stringContaining('HOLDFAST_HOOKS_DIR'),
    });
  });

  test('is killed with all that it started when it is aborted', async () => {
    await script('hang', `sleep 60 & echo $! > "${folder}/child"; touch "${folder}/begun"; wait`);
    const ended = new AbortController();
    const calling = callHook(program('hang'), call({ signal: ended.signal }));
    calling.catch(() => undefined);
    const { existsSync, readFileSync } = await import('node:fs');
    await expect.poll(() => existsSync(join(folder, 'begun')), { timeout: 10_000 }).toBe(true);
    ended.abort(new Error('enough'));
    await expect(calling).rejects.toThrow('enough');
    const child = Number(readFileSync(join(folder, 'child'), 'utf8'));
    await expect.poll(() => isRunning(child), { timeout: 10_000 }).toBe(false);
  });
});

/** A process that nobody has waited for yet is still listed. */
function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
  } catch {
    return false;
  }
  return !process.getBuiltinModule('fs').readFileSync(`/proc/${pid}/stat`, 'utf8').includes(') Z ');
}

describe('a request', () => {
  const serve = async (answer: (request: IncomingMessage, response: ServerResponse) => void): Promise<string> => {
    const server = createServer(answer);
    const { promise, resolve } = Promise.withResolvers<void>();
    server.listen(0, '127.0.0.1', resolve);
    await promise;
    stack.defer(() => {
      server.closeAllConnections();
      server.close();
    });
    const address = server.address();
    return `http://127.0.0.1:${typeof address === 'object' && address !== null ? address.port : 0}/freeze`;
  };
  const http = (url: string, timeoutSeconds = 10) => ({ kind: 'http', url, timeoutSeconds }) as const;

  test('says what it is for, with its token and past the proxies of the environment', async () => {
    for (const name of ['http_proxy', 'HTTP_PROXY', 'NODE_USE_ENV_PROXY'])
      vi.stubEnv(name, name === 'NODE_USE_ENV_PROXY' ? '1' : 'http://127.0.0.1:9');
    let seen: { method: string | undefined; authorization: string | undefined; body: string } | undefined;
    const url = await serve((request, response) => {
      let body = '';
      request.on('data', (bytes: Buffer) => (body += bytes.toString()));
      request.on('end', () => {
        seen = { method: request.method, authorization: request.headers.authorization, body };
        response.end('frozen, token was t0ken');
      });
    });
    const { output } = await callHook(http(url), call({ token: 't0ken', secrets: ['t0ken'] }));
    expect(output).toBe('frozen, token was ***');
    expect(seen).toMatchObject({ method: 'POST', authorization: 'Bearer t0ken' });
    expect(JSON.parse(seen?.body ?? '')).toEqual({ hook: 'freeze', jobId: 'job1', configId: 'config1' });
  });

  test('follows no redirect', async () => {
    let asked = 0;
    const url = await serve((_, response) => {
      asked++;
      response.writeHead(307, { location: 'http://127.0.0.1:9/' }).end();
    });
    await expect(callHook(http(url), call())).rejects.toMatchObject({ code: 'hook_failed', message: expect.stringContaining('redirect') });
    expect(asked).toBe(1);
  });

  test('that fails or is not answered is an error that says so', async () => {
    const failing = await serve((_, response) => response.writeHead(500).end('password=hunter2'));
    const error = await callHook(http(failing), call()).catch((reason: unknown) => reason);
    expect(error).toMatchObject({ code: 'hook_failed', message: expect.stringContaining('500') });
    expect(String(error)).not.toContain('hunter2');
    const silent = await serve(() => undefined);
    await expect(callHook(http(silent, 1), call())).rejects.toMatchObject({ code: 'hook_failed', message: expect.stringContaining('1 s') });
    const slow = await serve((_, response) => void response.writeHead(200).write('begun'));
    await expect(callHook(http(slow, 1), call())).rejects.toMatchObject({ code: 'hook_failed', message: expect.stringContaining('1 s') });
  });

  test.each(['http://elsewhere.internal/', 'http://169.254.169.254/latest', 'http://[fe80::1]/'])(
    'goes to no host that is not allowed: %s',
    async (url) => {
      await expect(callHook(http(url), call())).rejects.toMatchObject({ code: 'hook_host_not_allowed' });
    },
  );
});
