import type { TensorModule } from '../nn/module.js';
import { eachBatch, type Place } from './batches.js';
import type { EpochReport, FitOptions, Metrics } from './options.js';
import type { Trainer } from './step.js';

/** Trains on every batch once. Calls `report` every 16 batches with a text for the progress bar. */
export async function trainEpoch<M extends Metrics>(
  model: TensorModule,
  trainer: Trainer,
  options: FitOptions<M>,
  epoch: number,
  report: (batch: number, note: string) => void,
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
      report(
        place.batch + 1,
        `loss ${(total / samples).toFixed(4)} | ${Math.round(samples / ((performance.now() - start) / 1000))} samples/s`,
      );
    if (onBatch !== undefined)
      return Promise.resolve(onBatch({ epoch, batch: place.batch, loss: sum / n, samples: n })).then(() => {});
  };
  await eachBatch(train, 'training', epoch, signal, (x, y, place) => {
    const n = x.shape[0];
    const value = trainer.batch(x, y, place);
    // A promise only if the loss is not available yet: for a small step a few promises would cost as much as the step.
    return typeof value === 'number' ? note(value, n, place) : value.then((late) => note(late, n, place));
  });
  await trainer.finish(last);
  await trainer.checkWeights(epoch);
  const seconds = (performance.now() - start) / 1000;
  return { loss: total / samples, samples, seconds, samplesPerSecond: samples / seconds };
}
