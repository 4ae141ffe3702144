import { startTestServer, testDatabaseVariable } from './test-server.ts';

/** For a vitest project's `globalSetup`: one server for all test files of a run. Gives what ends it. */
export async function setup(): Promise<() => Promise<void>> {
  const server = await startTestServer();
  process.env[testDatabaseVariable] = server.url;
  return async () => server[Symbol.asyncDispose]();
}
