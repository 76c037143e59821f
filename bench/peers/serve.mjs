// What every peer written in JavaScript does: it answers lines on its standard input, each asking for one workload.
import { createInterface } from 'node:readline';

/** Seconds for one run: after warming up for twice `seconds`, the mean over as many runs as fit in `seconds`, one at least. */
function time(run, seconds, warm) {
  const start = performance.now();
  if (warm) while (performance.now() - start < 2000 * seconds) run();
  const begin = performance.now();
  let runs = 0;
  let passed = 0;
  do {
    run();
    runs++;
    passed = performance.now() - begin;
  } while (passed < 1000 * seconds);
  return passed / runs / 1000;
}

/**
 * @param version what the peer calls itself
 * @param make prepares a workload by its name; the result runs it once
 */
export async function serve(version, make) {
  const say = (answer) => console.log(JSON.stringify(answer));
  let name;
  let run;
  say({ version });
  for await (const line of createInterface({ input: process.stdin })) {
    const ask = JSON.parse(line);
    try {
      const fresh = ask.name !== name;
      if (fresh) {
        run = undefined;
        run = make(ask.name);
        name = ask.name;
      }
      say({ seconds: time(run, ask.seconds, fresh) });
    } catch (error) {
      name = undefined;
      say({ error: String(error).slice(0, 300) });
    }
  }
  process.exit(0);
}

/** A name such as "W3 64" or "W1 64x784x256" in parts. */
export function parse(name) {
  const [kind, what = ''] = name.split(' ');
  const sizes = what.split('x').map(Number);
  return { kind, what, sizes: sizes.length === 1 ? [sizes[0], sizes[0], sizes[0]] : sizes };
}

/** Sizes, batch and loss of the training workloads, and of W4's model. */
export function network({ kind, what }) {
  if (kind === 'W2') return { sizes: [10, 5, 1], batch: 100, loss: 'mse', lr: 0.01 };
  if (kind === 'W3b') return { sizes: [1024, 2048, 2048, 1024], batch: 256, loss: 'mse', lr: 0.01 };
  if (kind === 'W8') throw new Error('there is no AdamW to compare');
  return { sizes: [784, 256, 128, 10], batch: Number(what), loss: 'ce', lr: 0.1 };
}
