/**
 * Names in archives. Whoever unpacks one puts files where their names say: so none may lead out of the folder that it is unpacked in, under any
 * system's rules. The engine tells of names that no file system gives; here all parts are looked at once more.
 */
export type ArchiveName =
  | { readonly kind: 'safe'; readonly name: string; /** Other than in the backup. */ readonly isRenamed: boolean }
  | { readonly kind: 'unsafe'; readonly reason: string };

/** `path`: absolute in the snapshot. Bytes that are no UTF-8, and in a ZIP backslashes, are written as %E9: a program may take a backslash for a slash. */
export function archiveNameOf(path: string, format: 'tar' | 'zip'): ArchiveName {
  const parts = path.slice(1).split('/');
  if (!path.startsWith('/') || parts.some((part) => part === '' || part === '.' || part === '..' || part.includes('\0'))) {
    return { kind: 'unsafe', reason: 'its name would lead out of the folder in which the archive is unpacked' };
  }
  const name = path.slice(1);
  const isPlain = name.isWellFormed() && !(format === 'zip' && name.includes('\\'));
  return isPlain ? { kind: 'safe', name, isRenamed: false } : { kind: 'safe', name: parts.map(escapePart).join('/'), isRenamed: true };
}

function escapePart(part: string): string {
  let text = '';
  for (const character of part) {
    const code = character.codePointAt(0) ?? 0;
    if (code >= 0xdc80 && code <= 0xdcff) text += `%${(code - 0xdc00).toString(16).toUpperCase()}`;
    else text += character === '\\' ? '%5C' : character;
  }
  return text.toWellFormed();
}
