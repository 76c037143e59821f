import { builtin, permitted } from '../node.js';

/** What fit tells a progress display. */
export interface Progress {
  start(title: string, total: number): void;
  update(done: number, note: string): void;
  stop(): void;
}

const silent: Progress = { start() {}, update() {}, stop() {} };

/** The package for bars; undefined where there is no terminal. It throws where a bundle left the package behind. */
function load(): typeof import('cli-progress') | undefined {
  const module = builtin('node:module');
  if (module === null || !process.stderr?.isTTY) return undefined;
  // Loaded here and by require, so that nobody without a terminal pays for it and no bundler tries to resolve it.
  return module.createRequire(import.meta.url)('cli-progress');
}

/** A bar on the terminal, or nothing where there is no terminal. */
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
