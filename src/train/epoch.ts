import type { TensorModule } from '../nn/module.js';
import { eachBatch, type Place } from './batches.js';
import type { EpochReport, FitOptions, Metrics } from './options.js';
import type { Trainer } from './step.js';

/** Trains with every batch once. `tell` hears of it now and then. */
export async function trainEpoch<M extends Metrics>(
  model: TensorModule,
  trainer: Trainer,
  options: FitOptions<M>,
  epoch: number,
  tell: (batch: number, note: string) => void,
): Promise<Omit<EpochReport, 'epoch' | 'validation'>> {
  const { train, signal, onBatch } = options;
  const start = performance.now();
  let total = 0;
  let samples = 0;
  let last: Place = { what: 'training', epoch, batch: 0 };
  model.train();
  trainer.start();
  const note = (value: number, n: number, place: Place): void | Promise<void> => {
    const sum = trainer.total(value, n);
    total += sum;
    samples += n;
    last = place;
    if ((place.batch + 1) % 16 === 0)
      tell(
        place.batch + 1,
        `loss ${(total / samples).toFixed(4)} | ${Math.round(samples / ((performance.now() - start) / 1000))} samples/s`,
      );
    if (onBatch !== undefined)
      return Promise.resolve(onBatch({ epoch, batch: place.batch, loss: sum / n, samples: n })).then(() => {});
  };
  await eachBatch(train, 'training', epoch, signal, (x, y, place) => {
    const n = x.shape[0];
    const value = trainer.batch(x, y, place);
    // Promises only where there is something to wait for: a small step takes no longer than a few of them.
    return typeof value === 'number' ? note(value, n, place) : value.then((late) => note(late, n, place));
  });
  await trainer.finish(last);
  await trainer.checkWeights(epoch);
  const seconds = (performance.now() - start) / 1000;
  return { loss: total / samples, samples, seconds, samplesPerSecond: samples / seconds };
}
