/** The fields of a change that were given, so that they can be laid over the present values. */
export function givenFields<Fields extends object>(changes: Fields): { [Name in keyof Fields]?: Exclude<Fields[Name], undefined> } {
  const given = Object.entries(changes).filter(([, value]) => value !== undefined);
  // oxlint-disable-next-line no-unsafe-type-assertion -- entries of the fields are the fields; TypeScript forgets their names
  return Object.fromEntries(given) as { [Name in keyof Fields]?: Exclude<Fields[Name], undefined> };
}
