import { isJsonObject } from '@holdfast/database/json-object';

/** A row has some thirty columns, and JSON in them is small: beyond this the first ones tell enough. */
const maxFieldCount = 50;

/**
 * The names of the fields in which two rows differ, those of objects in them with dots: `source.paths`. Names alone: values may be sealed
 * secrets. At most 50.
 */
export function differingFields(before: unknown, after: unknown): string[] {
  return differences(before, after, '').slice(0, maxFieldCount);
}

function differences(before: unknown, after: unknown, at: string): string[] {
  if (isJsonObject(before) && isJsonObject(after)) {
    const names = [...new Set([...Object.keys(before), ...Object.keys(after)])].toSorted();
    return names.flatMap((name) => differences(before[name], after[name], at === '' ? name : `${at}.${name}`));
  }
  return JSON.stringify(before) === JSON.stringify(after) ? [] : [at];
}
