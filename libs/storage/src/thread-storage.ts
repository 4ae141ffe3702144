import { GrowingObject } from './local/growing-object.ts';
import { openLocalObject, type OpenObject } from './local/local-object.ts';
import type { ThreadStorageOptions } from './storage.ts';

/** Begins an object that is written as it grows and gets its name at the end; it is going to lie below `folder`, such as `data`. */
export function beginObject({ path }: ThreadStorageOptions, folder: string): Promise<GrowingObject> {
  return GrowingObject.begin(path, folder);
}

/** An object to read; see OpenObject. Errors: those of Storage.get. */
export function openObject(options: ThreadStorageOptions, name: string): OpenObject {
  return openLocalObject(options.path, name);
}
