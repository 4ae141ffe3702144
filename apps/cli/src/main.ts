#!/usr/bin/env node
import { asHoldfastError, isHoldfastError } from '@holdfast/errors/holdfast-error';
import { loadEnvFile } from './env-file.ts';
import { buildProgram } from './program.ts';

let exitCode = 0;
try {
  loadEnvFile();
  await buildProgram(process.env, (code) => {
    exitCode = code;
  }).parseAsync();
} catch (error) {
  const known = asHoldfastError(error);
  process.stderr.write(`holdfast: ${known.message}\n  hint: ${known.hint}\n`);
  // A defect is reported with the place where it happened; what the surroundings did is not.
  if (!isHoldfastError(error) && error instanceof Error) process.stderr.write(`${error.stack ?? ''}\n`);
  exitCode = 1;
}
// Nothing is left to do, and a connection that is kept alive for another request must not hold the prompt.
process.exit(exitCode);
