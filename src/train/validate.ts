import { noGrad } from '../autograd/mode.js';
import { tensor } from '../create.js';
import { turnIfDue } from '../data/yield.js';
import { describe, fail, show } from '../errors.js';
import { Tensor } from '../methods.js';
import type { TensorModule } from '../nn/module.js';
import { eachBatch, type Place, placeName } from './batches.js';
import { type FitOptions, lossReduction, type Metric, type Metrics, type ValidationReport } from './options.js';
import { lossOf } from './step.js';

/** The mean loss and the metrics of the validation data. @throws TapegradError where one of them is NaN */
export async function validate<M extends Metrics>(
  model: TensorModule,
  options: FitOptions<M>,
  epoch: number,
): Promise<ValidationReport<M> | null> {
  const { validation, loss, signal } = options;
  if (validation === undefined) return null;
  const sums = lossReduction(options) === 'sum';
  const metrics = Object.entries<Metric>(options.metrics ?? {});
  const perBatch = metrics.filter(([, metric]) => !metric.wholeSet);
  const onSet = metrics.filter(([, metric]) => metric.wholeSet);
  const outputs = new Collected('outputs');
  const targets = new Collected('targets');
  const totals = new Map<string, number>();
  let total = 0;
  let samples = 0;
  model.eval();
  await eachBatch(validation, 'validation', epoch, signal, async (x, y, place) => {
    const n = x.shape[0];
    const [output, cost] = noGrad(() => lossOf(loss, model, x, y, place));
    const value = await cost.item();
    if (Number.isNaN(value)) fail('fit', `the loss is NaN in ${placeName(place)}`, 'check the validation data for NaN');
    total += sums ? value : n * value;
    for (const [name, metric] of perBatch) {
      const turn = turnIfDue();
      if (turn !== null) await turn;
      totals.set(name, (totals.get(name) ?? 0) + n * (await evaluate(name, metric, output, y, placeName(place))));
    }
    if (onSet.length > 0) {
      await outputs.add(output, place);
      await targets.add(y, place);
    }
    samples += n;
  });
  const report: Record<string, number> = { loss: total / samples };
  for (const [name, metric] of metrics) {
    const turn = turnIfDue();
    if (turn !== null) await turn;
    report[name] = metric.wholeSet
      ? await evaluate(name, metric, outputs.whole(), targets.whole(), `the validation of epoch ${epoch}`)
      : totals.get(name)! / samples;
  }
  for (const [name, value] of Object.entries(report)) {
    if (Number.isNaN(value))
      // also for infinities of both signs
      fail(
        'fit',
        `the mean ${name} of the validation of epoch ${epoch} is NaN`,
        'check the loss or metric of each batch',
      );
  }
  return report as ValidationReport<M>;
}

/** The value of a metric. @throws TapegradError if it is not a number, or NaN */
async function evaluate(name: string, metric: Metric, output: Tensor, target: Tensor, where: string): Promise<number> {
  const result: unknown = await metric(output, target);
  if (result instanceof Tensor && result.size !== 1)
    fail(
      'fit',
      `the metric ${name} returned a tensor of shape ${show(result.shape)} in ${where}`,
      'return a number or a tensor with one element, such as its mean()',
      { shapes: [result.shape] },
    );
  const value: unknown = result instanceof Tensor ? await result.item() : result;
  if (typeof value !== 'number')
    fail(
      'fit',
      `the metric ${name} returned ${describe(value)} in ${where}`,
      'return a number, a tensor with one element, or a promise of one',
    );
  if (Number.isNaN(value))
    fail('fit', `the metric ${name} is NaN in ${where}`, 'check the validation data, and what the metric divides by');
  return value;
}

/** Concatenates the rows of all batches into one tensor. */
class Collected {
  readonly #parts: Float32Array[] = [];
  #rest: readonly number[] = [];
  #rows = 0;
  #device: Tensor['device'] = 'cpu';

  constructor(private readonly what: string) {}

  async add(t: Tensor, place: Place): Promise<void> {
    const [rows, ...rest] = t.shape;
    if (t.ndim === 0 || (this.#parts.length > 0 && show(rest) !== show(this.#rest)))
      fail(
        'fit',
        `the ${this.what} of ${placeName(place)} have shape ${show(t.shape)}, which cannot be concatenated with the previous ones along the first dimension`,
        'use the same shape, except for the number of samples, in all batches, or use metrics without wholeSet',
        { shapes: [t.shape] },
      );
    this.#parts.push(await t.data());
    this.#rest = rest;
    this.#rows += rows;
    this.#device = t.device;
  }

  whole(): Tensor {
    const all = new Float32Array(this.#parts.reduce((sum, part) => sum + part.length, 0));
    let at = 0;
    for (const part of this.#parts) {
      all.set(part, at);
      at += part.length;
    }
    return tensor(all, { shape: [this.#rows, ...this.#rest], device: this.#device });
  }
}
