import { type ErrorCode, type Fault, errorCodes } from '../../libs/errors/src/error-codes.ts';
import { statusByCode } from '../../apps/api/src/problem.ts';

const meanings: Readonly<Record<Fault, string>> = {
  input: 'the caller: correct the request',
  operator: 'the person who runs the service: settings, rights, space',
  environment: 'the surroundings: network, disk, another process',
  damage: 'the data at rest',
  defect: 'Holdfast itself: please report it',
};

/** docs/errors.md, whole. It is made from the code's table, so it cannot say anything else. */
export function errorDocument(): string {
  const codes = Object.keys(errorCodes).filter((code): code is ErrorCode => code in errorCodes);
  const row = (code: ErrorCode): string => {
    const { fault, retry, hint } = errorCodes[code];
    return `| \`${code}\` | ${statusByCode[code]} | ${fault} | ${retry === 'later' ? 'yes' : ''} | ${hint} |`;
  };
  return `# Errors

Every error has a code that stays the same; messages may change. The API answers \`application/problem+json\` with the \`code\` and a
\`hint\`; a failed run carries it as \`errorCode\`. This page is made from \`libs/errors/src/error-codes.ts\` and the API's statuses, and a
test fails when it is not up to date: \`npm test -- tests/docs.test.ts --update\` writes it anew.

Who can mend it:

${Object.entries(meanings)
  .map(([fault, meaning]) => `- **${fault}**: ${meaning}`)
  .join('\n')}

"Again" says that the same call may pass later with nothing changed by anybody; a worker then tries a run again by itself.

| code | HTTP | mended by | again | what to do |
|---|---|---|---|---|
${codes.map(row).join('\n')}
`;
}
