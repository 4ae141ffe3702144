import { errorCodes, type ErrorCode } from '@holdfast/errors/error-codes';
import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { z } from 'zod';

/** The parts of application/problem+json (RFC 9457) that a person is told. */
const problemSchema = z.looseObject({
  detail: z.string(),
  code: z.string(),
  hint: z.string().optional(),
  errors: z.array(z.looseObject({ field: z.string(), message: z.string() })).optional(),
});

const maxBodyChars = 300;

/** What the API refused, as the error that it meant: its code, its words, its hint. `request` names the call, such as `POST /jobs`. */
export function problemError(request: string, status: number, body: string): HoldfastError {
  const problem = parseProblem(body);
  if (problem === undefined) {
    return new HoldfastError('internal', `${request} answered ${status}: ${body.trim().slice(0, maxBodyChars)}`, {
      context: { status },
    });
  }
  // The detail names the wrong fields already when the API built it from them.
  const fields = (problem.errors ?? [])
    .filter((error) => !problem.detail.includes(error.message))
    .map((error) => ` (${error.field}: ${error.message})`);
  return new HoldfastError(
    knownErrorCode(problem.code),
    `${request} answered ${status} ${problem.code}: ${problem.detail}${fields.join('')}`,
    {
      ...(problem.hint === undefined ? {} : { hint: problem.hint }),
      context: { status },
    },
  );
}

function parseProblem(body: string): z.infer<typeof problemSchema> | undefined {
  try {
    return problemSchema.safeParse(JSON.parse(body)).data;
  } catch {
    return undefined; // Something between us and the API answered.
  }
}

/** A newer API may know codes that this command does not. */
export function knownErrorCode(code: string): ErrorCode {
  return isKnownCode(code) ? code : 'internal';
}

function isKnownCode(code: string): code is ErrorCode {
  return Object.hasOwn(errorCodes, code);
}
