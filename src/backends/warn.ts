// Without these lines a program would only be slow, and nobody would know why.

const said = new Set<string>();

/** Writes to the console that something is much slower than it need be; each `subject` once in a process or page. */
export function warnOnce(subject: string, text: string): void {
  if (said.has(subject)) return;
  said.add(subject);
  globalThis.console?.warn(`tapegrad: ${text}`);
}
