import type { FastifySchemaCompiler } from 'fastify';
import type { z } from 'zod';
import { fieldError, type FieldError } from './problem.ts';

/** More wrong fields than this are not listed: the caller mends these first. */
const fieldErrorsMaxCount = 50;
/** Names of unknown fields come from the caller and are cut to this. */
const fieldNameMaxChars = 100;

type Issue = z.core.$ZodIssue;

/** Checks bodies, queries, params and headers with zod; what does not fit is thrown as `request_invalid` that names the fields. */
export const compileValidator: FastifySchemaCompiler<z.ZodType> = ({ schema, httpPart }) => {
  return (value: unknown) => {
    const parsed = schema.safeParse(value === undefined || (value === null && httpPart === 'body') ? {} : value);
    return parsed.success ? { value: parsed.data } : { error: invalidRequest(parsed.error.issues) };
  };
};

/** The refusal that names every wrong field, once. No message holds a value that was sent. */
export function invalidRequest(issues: readonly Issue[]): Error {
  const errors = issues.flatMap((issue) => fieldErrorsOf(issue, []));
  const onceEach = [...Map.groupBy(errors, (error) => error.field).values()].flatMap((ofField) => ofField.slice(0, 1));
  const [first = { field: '', message: 'the request does not fit' }, ...rest] = onceEach;
  return fieldError('request_invalid', [first, ...rest.slice(0, fieldErrorsMaxCount - 1)]);
}

function fieldErrorsOf(issue: Issue, above: readonly PropertyKey[]): FieldError[] {
  const path = [...above, ...issue.path];
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.map((key) => ({ field: fieldName([...path, key]), message: 'is not a known field; leave it out' }));
  }
  if (issue.code === 'invalid_union' && issue.errors.length > 0) {
    // Of a union, the branch with the fewest complaints is most likely what was meant.
    const branches = issue.errors.map((branch) => branch.flatMap((inner) => fieldErrorsOf(inner, path)));
    return branches.toSorted((a, b) => a.length - b.length)[0] ?? [];
  }
  return [{ field: fieldName(path), message: messageOf(issue) }];
}

function fieldName(path: readonly PropertyKey[]): string {
  return path.map((part) => String(part).slice(0, fieldNameMaxChars)).join('.');
}

function messageOf(issue: Issue): string {
  switch (issue.code) {
    case 'invalid_type':
      return issue.message.endsWith('received undefined')
        ? `is missing; send ${typeName(issue.expected)}`
        : `has the wrong type; send ${typeName(issue.expected)}`;
    case 'too_small':
      return `must be ${issue.inclusive === false ? 'more than' : 'at least'} ${issue.minimum}${unitOf(issue.origin)}`;
    case 'too_big':
      return `must be ${issue.inclusive === false ? 'less than' : 'at most'} ${issue.maximum}${unitOf(issue.origin)}`;
    case 'invalid_value':
      return `must be one of ${issue.values.map((value) => String(value)).join(', ')}`;
    case 'invalid_union':
      return 'is not a kind that is known here; see /docs for those that are';
    case 'invalid_format':
    case 'not_multiple_of':
    case 'unrecognized_keys':
    case 'invalid_key':
    case 'invalid_element':
    case 'custom':
      break;
  }
  return lowerFirst(issue.message);
}

function typeName(expected: string): string {
  return expected === 'int' ? 'a whole number' : `${/^[aeio]/u.test(expected) ? 'an' : 'a'} ${expected}`;
}

function unitOf(origin: string): string {
  if (origin === 'string') return ' characters long';
  return origin === 'array' || origin === 'set' ? ' items long' : '';
}

function lowerFirst(text: string): string {
  return text.charAt(0).toLowerCase() + text.slice(1);
}
