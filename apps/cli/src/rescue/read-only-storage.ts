import { HoldfastError } from '@holdfast/errors/holdfast-error';
import type { Storage } from '@holdfast/storage/storage';

/** A storage in which nothing is written: a rescue reads what may be the last copy of everything. */
export function openReadOnlyStorage(inner: Storage): Storage {
  return {
    location: inner.location,
    put: (name) => refusal(`${name} was to be written`),
    get: (name, options) => inner.get(name, options),
    stat: (name, options) => inner.stat(name, options),
    list: (prefix, options) => inner.list(prefix, options),
    delete: (name) => refusal(`${name} was to be removed`),
    close: () => inner.close(),
  };
}

function refusal(what: string): Promise<never> {
  return Promise.reject(new HoldfastError('internal', `a rescue writes nothing, and ${what}`));
}
