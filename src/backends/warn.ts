// Warnings about fallbacks, without which a program would be slow for no visible reason.

const said = new Set<string>();

/** Warns on the console that something is much slower than necessary; once for each `subject` in a process or page. */
export function warnOnce(subject: string, text: string): void {
  if (said.has(subject)) return;
  said.add(subject);
  globalThis.console?.warn(`tapegrad: ${text}`);
}
