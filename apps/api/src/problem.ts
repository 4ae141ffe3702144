import { errorCodes, type ErrorCode } from '@holdfast/errors/error-codes';
import { HoldfastError } from '@holdfast/errors/holdfast-error';

/**
 * RFC 9457 problem details. `code` is the stable name of the error, `errors` names the fields of the request that are wrong:
 *
 *     { "type": "urn:holdfast:error:request_invalid", "title": "request invalid", "status": 400, "detail": "…",
 *       "code": "request_invalid", "hint": "…", "errors": [{ "field": "retentionDays", "message": "…" }], "instance": "urn:request:…" }
 */
export interface FieldError {
  readonly field: string;
  readonly message: string;
}

export interface Problem {
  readonly type: string;
  readonly title: string;
  readonly status: number;
  readonly detail: string;
  readonly code: ErrorCode;
  readonly hint: string;
  readonly errors?: readonly FieldError[];
  readonly instance: string;
}

export const problemMediaType = 'application/problem+json';

/** The API's one translation of codes to HTTP. Total by its type: a new code does not compile without its status. */
export const statusByCode = {
  request_invalid: 400,
  request_too_large: 413,
  rate_limited: 429,
  token_missing: 401,
  token_invalid: 401,
  role_insufficient: 403,
  not_found: 404,
  method_not_allowed: 405,
  conflict: 409,
  idempotency_key_reused: 422,
  credentials_missing: 400,
  schedule_invalid: 400,
  run_already_finished: 409,
  run_not_finished: 409,
  backup_not_usable: 409,
  config_inactive: 409,
  type_not_supported: 422,

  path_outside_roots: 422,
  path_not_found: 422,
  path_not_readable: 422,
  target_not_empty: 409,
  target_not_writable: 422,

  postgresql_host_not_allowed: 422,
  storage_host_not_allowed: 422,
  storage_test_unanswered: 503,
  postgresql_unreachable: 503,
  postgresql_login_failed: 502,
  postgresql_tls_failed: 502,
  postgresql_access_rule_missing: 502,
  postgresql_denied: 502,
  postgresql_setting_missing: 502,
  postgresql_limit_reached: 503,
  postgresql_interrupted: 503,
  postgresql_disk_full: 503,
  postgresql_stream_damaged: 502,
  postgresql_wal_lost: 409,
  postgresql_busy: 503,
  postgresql_changed: 503,
  postgresql_not_found: 422,
  postgresql_version_unsupported: 502,
  postgresql_tool_missing: 500,
  postgresql_failed: 502,
  postgresql_target_uncovered: 422,
  postgresql_wal_missing: 409,
  postgresql_chain_broken: 409,
  postgresql_recovery_failed: 409,
  mysql_host_not_allowed: 422,
  mysql_unreachable: 503,
  mysql_login_failed: 502,
  mysql_tls_failed: 502,
  mysql_denied: 502,
  mysql_interrupted: 503,
  mysql_busy: 503,
  mysql_changed: 503,
  mysql_not_found: 422,
  mysql_tool_missing: 500,
  mysql_failed: 502,
  redis_host_not_allowed: 422,
  redis_unreachable: 503,
  redis_login_failed: 502,
  redis_tls_failed: 502,
  redis_denied: 502,
  redis_interrupted: 503,
  redis_busy: 503,
  redis_stream_damaged: 502,
  redis_failed: 502,
  sqlite_busy: 503,
  sqlite_disk_full: 503,
  sqlite_damaged: 422,
  sqlite_unfinished: 409,
  sqlite_denied: 422,
  sqlite_failed: 500,
  hook_host_not_allowed: 422,
  hook_not_found: 422,
  hook_failed: 502,
  frozen_too_long: 503,

  storage_object_missing: 500,
  storage_object_exists: 500,
  storage_object_too_short: 500,
  storage_full: 507,
  storage_denied: 502,
  storage_unreachable: 503,
  storage_object_held: 409,
  storage_append_only: 409,

  repository_missing: 409,
  repository_exists: 409,
  repository_password_wrong: 409,
  repository_locked: 409,
  repository_damaged: 409,
  repository_unsupported: 409,
  repository_key_needed: 409,
  snapshot_missing: 409,
  verification_found_damage: 409,

  run_superseded: 409,
  run_cancelled: 409,
  run_interrupted: 503,
  attempts_exhausted: 409,

  worker_unreachable: 503,
  worker_busy: 503,
  range_not_satisfiable: 416,

  database_unreachable: 503,
  database_schema_mismatch: 503,
  queue_unreachable: 503,
  secret_unreadable: 500,
  configuration_invalid: 500,
  disk_full: 507,
  internal: 500,
} as const satisfies Record<ErrorCode, number>;

/** A refusal that names fields of the request. `errors` comes back in the problem; messages say what to do and hold no value. */
export function fieldError(code: ErrorCode, errors: readonly [FieldError, ...FieldError[]]): HoldfastError {
  const detail = errors.map((error) => (error.field === '' ? error.message : `${error.field}: ${error.message}`)).join('; ');
  return new HoldfastError(code, detail, { context: { errors } });
}

/** Errors that Fastify itself raises before a handler runs, by its own code. */
const codeByFastifyCode: Readonly<Record<string, { code: ErrorCode; detail: string }>> = {
  FST_ERR_CTP_BODY_TOO_LARGE: { code: 'request_too_large', detail: 'the body is larger than the API takes' },
  FST_ERR_CTP_INVALID_MEDIA_TYPE: { code: 'request_invalid', detail: 'the body must be sent as application/json' },
  FST_ERR_CTP_EMPTY_JSON_BODY: { code: 'request_invalid', detail: 'the body is empty although its content type is application/json' },
  FST_ERR_CTP_INVALID_JSON_BODY: { code: 'request_invalid', detail: 'the body is not valid JSON' },
  FST_ERR_CTP_INVALID_CONTENT_LENGTH: { code: 'request_invalid', detail: 'the body is not as long as its content-length says' },
  FST_ERR_BAD_URL: { code: 'request_invalid', detail: 'the path is not a valid URL' },
  FST_ERR_MAX_PARAM_LENGTH: { code: 'request_invalid', detail: 'a part of the path is too long' },
};

/** Whatever was thrown, as one of ours. What is unknown becomes `internal`, its cause kept for the log. */
export function toHoldfastError(error: unknown): HoldfastError {
  if (error instanceof HoldfastError) return error;
  const fastifyCode = errorProperty(error, 'code');
  const known = typeof fastifyCode === 'string' ? codeByFastifyCode[fastifyCode] : undefined;
  if (known !== undefined) return new HoldfastError(known.code, known.detail, { cause: error });
  const status = errorProperty(error, 'statusCode');
  if (error instanceof SyntaxError && status === 400) {
    return new HoldfastError('request_invalid', 'the body is not valid JSON', { cause: error });
  }
  if (typeof status === 'number' && status >= 400 && status < 500) {
    return new HoldfastError('request_invalid', 'the request could not be read', { cause: error });
  }
  return new HoldfastError('internal', 'something went wrong on our side', { cause: error });
}

/** The problem document of an error. A 500 tells nothing but its code and the request's id. */
export function toProblem(error: HoldfastError, requestId: string): Problem {
  const status = statusByCode[error.code];
  const errors = error.context['errors'];
  return {
    type: `urn:holdfast:error:${error.code}`,
    title: error.code.replaceAll('_', ' '),
    status,
    detail: status === 500 ? 'something went wrong on our side' : error.message,
    code: error.code,
    hint: status === 500 ? errorCodes[error.code].hint : error.hint,
    ...(isFieldErrors(errors) ? { errors } : {}),
    instance: `urn:request:${requestId}`,
  };
}

function isFieldErrors(value: unknown): value is readonly FieldError[] {
  return Array.isArray(value) && value.length > 0;
}

function errorProperty(error: unknown, name: string): unknown {
  return typeof error === 'object' && error !== null ? Reflect.get(error, name) : undefined;
}
