import { defineConfig } from 'vitest/config';

// Four projects by what they need: unit needs nothing, live starts servers, interop runs stock restic, e2e runs the whole system.
const project = (name: string, include: string[], exclude: string[], timeoutMs: number) => ({
  test: { name, include, exclude: ['**/node_modules/**', ...exclude], testTimeout: timeoutMs, hookTimeout: timeoutMs },
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
      project('live', ['{apps,libs}/*/src/**/*.live.test.ts'], ['apps/e2e/**'], 120_000),
      project('interop', ['{apps,libs}/*/src/**/*.interop.test.ts'], ['apps/e2e/**'], 300_000),
      project('e2e', ['apps/e2e/src/**/*.test.ts'], [], 600_000),
    ],
  },
});
