import { defineConfig } from 'vitest/config';

// Projects by what they need: unit nothing, live a server that it starts, interop stock restic, e2e the whole system, container an engine.
const project = (name: string, include: string[], exclude: string[], timeoutMs: number, globalSetup: string[] = []) => ({
  test: { name, include, exclude: ['**/node_modules/**', ...exclude], testTimeout: timeoutMs, hookTimeout: timeoutMs, globalSetup },
});

export default defineConfig({
  test: {
    projects: [
      project(
        'unit',
        ['{apps,libs}/*/src/**/*.test.ts', 'tests/**/*.test.ts'],
        ['**/*.live.test.ts', '**/*.interop.test.ts', 'apps/e2e/**'],
        30_000,
      ),
      project('live', ['{apps,libs}/*/src/**/*.live.test.ts'], ['apps/e2e/**'], 120_000, ['libs/database/src/testing/global-setup.ts']),
      project('interop', ['{apps,libs}/*/src/**/*.interop.test.ts'], ['apps/e2e/**'], 300_000),
      project('e2e', ['apps/e2e/src/**/*.test.ts'], [], 600_000),
      project('container', ['apps/e2e/src/**/*.container.ts'], [], 900_000),
    ],
  },
});
