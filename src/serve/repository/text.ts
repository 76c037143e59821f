/** The limit on the characters of a reason. */
const LONGEST = 300;

/** A text on one line that is safe in logs, terminals and pages: control characters are escaped, and its length is bounded. */
export function printable(text: string, longest = LONGEST): string {
  const escaped = text.replace(/[\p{Cc}\p{Cf}\u2028\u2029]/gu, (c) =>
    c === '\n' ? '\\n' : `\\u${c.codePointAt(0)!.toString(16).padStart(4, '0')}`,
  );
  return escaped.length <= longest ? escaped : `${escaped.slice(0, longest - 1)}…`;
}

/** Why a file or folder cannot be used, without its path, which is none of a client's business. */
export function reasonOf(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException;
  if (typeof code === 'string' && /^E[A-Z]+$/.test(code)) return `it cannot be read (${code})`;
  return printable(message ?? String(error));
}
