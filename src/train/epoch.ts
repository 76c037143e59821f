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
  await eachBatch(train, 'training', epoch, signal, async (x, y, place) => {
    const n = x.shape[0];
    const sum = trainer.total(await trainer.batch(x, y, place), n);
    total += sum;
    samples += n;
    last = place;
    if ((place.batch + 1) % 16 === 0)
      tell(
        place.batch + 1,
        `loss ${(total / samples).toFixed(4)} | ${Math.round(samples / ((performance.now() - start) / 1000))} samples/s`,
      );
    if (onBatch !== undefined) await onBatch({ epoch, batch: place.batch, loss: sum / n, samples: n });
  });
  await trainer.finish(last);
  await trainer.checkWeights(epoch);
  const seconds = (performance.now() - start) / 1000;
  return { loss: total / samples, samples, seconds, samplesPerSecond: samples / seconds };
}
