import { request } from 'node:http';

/** An engine that is there answers in milliseconds; a socket that nobody serves any more never does. */
const answerLimitMs = 2_000;

/** True when a container engine answers at DOCKER_HOST, or at its usual socket. */
export async function engineAnswers(): Promise<boolean> {
  try {
    return (await ask('GET', '/_ping')) === 200;
  } catch {
    return false; // no socket, or nobody behind it
  }
}

/** SIGKILL to a container: the testcontainers library only knows the gentle end. */
export async function killContainer(id: string): Promise<void> {
  const status = await ask('POST', `/containers/${id}/kill`);
  if (status !== 204) throw new Error(`the container engine answered ${status} to a kill of ${id}`);
}

function ask(method: string, path: string): Promise<number | undefined> {
  const address = new URL(process.env['DOCKER_HOST'] ?? 'unix:///var/run/docker.sock');
  const place = address.protocol === 'unix:' ? { socketPath: address.pathname } : { host: address.hostname, port: address.port };
  return new Promise((resolve, reject) => {
    const call = request({ ...place, method, path, signal: AbortSignal.timeout(answerLimitMs) }, (answer) => {
      answer.resume();
      resolve(answer.statusCode);
    });
    call.once('error', reject);
    call.end();
  });
}
