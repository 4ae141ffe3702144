/** What a hook has said, as it may be shown: its end, without secrets. */

/** Of both streams of a program, or of an answer: a page of text. */
export const maxOutputBytes = 8 * 1024;

/** `name=value`, `name: value` and the user part of a URL, where the name says that the value is a secret. */
const namedSecret = /\b([\w-]*(?:password|passwd|secret|token|api[_-]?key)["']?\s*[=:]\s*)("[^"]*"|'[^']*'|\S+)/giu;
const bearerSecret = /\b(bearer\s+)\S+/giu;
const urlSecret = /(\b[a-z][a-z0-9+.-]*:\/\/)[^\s/@]+@/giu;

/** Collects bytes and keeps the last of them. */
export class HookOutput {
  #bytes = Buffer.alloc(0);

  add(bytes: Uint8Array): void {
    this.#bytes = Buffer.concat([this.#bytes, bytes]).subarray(-maxOutputBytes);
  }

  /** Its text; `secrets` and what looks like one are left out of it. */
  text(secrets: readonly string[]): string {
    return withoutSecrets(this.#bytes.toString('utf8'), secrets).trim();
  }
}

export function withoutSecrets(text: string, secrets: readonly string[]): string {
  let shown = text;
  for (const secret of secrets) if (secret !== '') shown = shown.replaceAll(secret, '***');
  return shown.replace(urlSecret, '$1***@').replace(bearerSecret, '$1***').replace(namedSecret, '$1***');
}
