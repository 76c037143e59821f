import { fstatSync, writeSync } from 'node:fs';
import { isMainThread } from 'node:worker_threads';

// The destination of the log: standard output. A full disk, a closed pipe and a reader that does not read must not stop the
// server, so lines that cannot be written are dropped and counted.

/** The limit on bytes that wait for a slow reader of standard output. */
const WAITING = 2 ** 20;
const STDOUT = 1;

const isFile = (): boolean => {
  try {
    return isMainThread && fstatSync(STDOUT).isFile();
  } catch {
    return false;
  }
};

/** A stream for log lines that never fails and never waits. */
export class LogStream {
  /** The number of lines that could not be written. */
  dropped = 0;
  /** Is called when lines can be written again, with the number of lines lost before. */
  onRecovered: (lines: number) => void = () => {};
  #lost = 0;
  readonly #write: (line: string) => boolean;

  /** @param write writes a line if it can; default: to standard output */
  constructor(write: (line: string) => boolean = toStdout()) {
    this.#write = write;
  }

  write(line: string): void {
    if (!this.#write(line)) {
      this.dropped++;
      this.#lost++;
    } else if (this.#lost > 0) {
      const lines = this.#lost;
      this.#lost = 0;
      this.onRecovered(lines);
    }
  }
}

function toStdout(): (line: string) => boolean {
  if (isFile())
    return (line) => {
      try {
        return writeSync(STDOUT, line) === Buffer.byteLength(line);
      } catch {
        return false;
      }
    };
  let closed = false;
  process.stdout.on('error', () => {
    closed = true;
  });
  return (line) => {
    const { stdout } = process;
    if (closed || !stdout.writable || stdout.writableLength > WAITING) return false;
    stdout.write(line);
    return true;
  };
}
