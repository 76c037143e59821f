import { builtin, permitted } from '../node.js';

/** A progress display. */
export interface Progress {
  start(title: string, total: number): void;
  update(done: number, note: string): void;
  stop(): void;
}

const silent: Progress = { start() {}, update() {}, stop() {} };

/** The package cli-progress; undefined without a terminal. Throws if a bundle does not include the package. */
function load(): typeof import('cli-progress') | undefined {
  const module = builtin('node:module');
  if (module === null || !process.stderr?.isTTY) return undefined;
  // Loaded lazily and with require, so that programs without a terminal do not load it and bundlers do not resolve it.
  return module.createRequire(import.meta.url)('cli-progress');
}

/** A progress bar on the terminal, or a display that does nothing if there is no terminal. */
export function terminalProgress(): Progress {
  const { SingleBar } = permitted(load) ?? {};
  if (SingleBar === undefined) return silent;
  let bar: InstanceType<typeof SingleBar> | null = null;
  return {
    start(title, total) {
      bar = new SingleBar({
        format: `${title} {bar} {percentage}% | {note}`,
        clearOnComplete: true,
        hideCursor: true,
        barsize: 30,
      });
      bar.start(total, 0, { note: '' });
    },
    update(done, note) {
      bar?.update(done, { note });
    },
    stop() {
      bar?.stop();
      bar = null;
    },
  };
}

export { silent };
