/** The page of the board's sign-in: one field, no script. `refusal` says why the last token was not taken. */
export function signInPage(action: string, refusal?: string): string {
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
<title>Holdfast queues: sign in</title>
<style>
  :root { color-scheme: light dark; }
  body { font: 1rem/1.5 system-ui, sans-serif; display: grid; place-items: center; min-height: 90vh; margin: 0; }
  form { width: min(28rem, 90vw); display: grid; gap: .75rem; }
  input, button { font: inherit; padding: .6rem; }
  [role=alert] { color: #c0362c; margin: 0; }
</style>
</head>
<body>
<form method="post" action="${escapeHtml(action)}">
  <h1>Queues</h1>
  <label for="token">Token of an admin for all entities (<code>holdfast token</code> makes one)</label>
  <input id="token" name="token" type="password" autocomplete="off" required autofocus>
  ${refusal === undefined ? '' : `<p role="alert">${escapeHtml(refusal)}</p>`}
  <button type="submit">Sign in</button>
</form>
</body>
</html>
`;
}

function escapeHtml(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;');
}
