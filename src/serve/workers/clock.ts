/**
 * Milliseconds on a clock that every thread of the process reads alike and that never jumps, unlike Date.now(), which follows
 * corrections of the system's time.
 */
export function monotonic(): number {
  const [seconds, nanoseconds] = process.hrtime();
  return seconds * 1000 + nanoseconds / 1e6;
}
