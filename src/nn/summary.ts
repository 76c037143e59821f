import { noGrad } from '../autograd/mode.js';
import { zeros } from '../create.js';
import { describe, fail, show } from '../errors.js';
import { Tensor } from '../methods.js';
import { Module } from './module.js';

/** One module in a {@link Summary}. */
export interface SummaryRow {
  /** The path of the module, such as 'layers.0'; '' for the model itself. */
  readonly path: string;
  /** The name of its class. */
  readonly type: string;
  /** The shape of its output in the first call; null if it was not called or did not return one tensor. */
  readonly outputShape: readonly number[] | null;
  /** The number of elements of its own parameters, without those of submodules; a shared parameter counts once, at its first path. */
  readonly parameters: number;
}

/**
 * The result of {@link summary}. Prints as a table.
 *
 * @example
 * ```ts
 * import { nn, summary } from 'tapegrad';
 *
 * const { rows, trainable } = summary(new nn.Linear(3, 2), [1, 3]);
 * console.log(rows[0].outputShape, trainable); // [1, 2] 8
 * ```
 */
export class Summary {
  /**
   * @param rows one row for each module
   * @param parameters the number of elements of all parameters
   * @param trainable the number of elements of parameters that require a gradient
   */
  constructor(
    /** One row for each module, the model itself first. */
    readonly rows: readonly SummaryRow[],
    /** The number of elements of all parameters, shared ones counted once. */
    readonly parameters: number,
    /** The number of elements of parameters that require a gradient. */
    readonly trainable: number,
  ) {}

  /**
   * Formats the summary as a table with one line for each module, and the totals.
   *
   * @returns several lines of text
   */
  toString(): string {
    const cells = [
      ['module', 'output', 'parameters'],
      ...this.rows.map(({ path, type, outputShape, parameters }) => [
        `${'  '.repeat(path === '' ? 0 : path.split('.').length)}${path === '' ? '' : `${path}: `}${type}`,
        outputShape === null ? '-' : show(outputShape),
        parameters.toLocaleString('en-US'),
      ]),
    ];
    const [a, b, c] = [0, 1, 2].map((i) => cells.reduce((widest, row) => Math.max(widest, row[i].length), 0));
    const lines = cells.map(([x, y, z]) => `${x.padEnd(a)}  ${y.padEnd(b)}  ${z.padStart(c)}`);
    const rule = '-'.repeat(a + b + c + 4);
    const total = `parameters: ${this.parameters.toLocaleString('en-US')}, trainable: ${this.trainable.toLocaleString('en-US')}, float32: ${(this.parameters * 4).toLocaleString('en-US')} bytes`;
    return [lines[0], rule, ...lines.slice(1), rule, total].join('\n');
  }

  /** @internal */
  [Symbol.for('nodejs.util.inspect.custom')](): string {
    return this.toString();
  }
}

/**
 * Runs a model once, in evaluation mode and without gradients, and lists the output shape and the number of parameters of each
 * module. The model is unchanged afterwards.
 *
 * @param model any module
 * @param input an example tensor; an array of tensors for a forward with several inputs; or the shape of one input, for an
 *   input of zeros
 * @returns one row for each module, and totals; `String(result)` is a table
 * @throws TapegradError for other arguments, and any error of the model for this input
 * @example
 * ```ts
 * import { nn, summary } from 'tapegrad';
 *
 * const model = new nn.Sequential(new nn.Linear(784, 10), new nn.ReLU());
 * console.log(String(summary(model, [1, 784])));
 * console.log(summary(model, [1, 784]).parameters); // 7850
 * ```
 */
export function summary(model: Module, input: Tensor | readonly Tensor[] | readonly number[]): Summary {
  if (!(model instanceof Module)) fail('summary', `the model is ${describe(model)}`, 'pass a module');
  const inputs = asInputs(input, model);
  const modules = model.namedModules();
  const shapes = new Map<Module, readonly number[]>();
  const modes = modules.map(([, m]) => m.training);
  const handles = modules.map(([, m]) =>
    m.registerForwardHook((module, _, output) => {
      if (output instanceof Tensor && !shapes.has(module)) shapes.set(module, output.shape);
    }),
  );
  try {
    model.eval();
    noGrad(() => (model.forward as (...inputs: Tensor[]) => unknown).apply(model, inputs));
  } finally {
    for (const handle of handles) handle.remove();
    for (const [i, [, m]] of modules.entries()) m.training = modes[i];
  }
  const paths = modules.map(([path]) => path).sort((a, b) => b.length - a.length);
  const own = new Map<string, number>();
  for (const [name, p] of model.namedParameters()) {
    const owner = paths.find((path) => name.startsWith(`${path}.`)) ?? '';
    own.set(owner, (own.get(owner) ?? 0) + p.size);
  }
  const rows = modules.map(([path, m]) => ({
    path,
    type: m.constructor.name,
    outputShape: shapes.get(m) ?? null,
    parameters: own.get(path) ?? 0,
  }));
  const all = model.parameters();
  const count = (tensors: Tensor[]) => tensors.reduce((sum, p) => sum + p.size, 0);
  return new Summary(rows, count(all), count(all.filter((p) => p.requiresGrad)));
}

function asInputs(input: unknown, model: Module): Tensor[] {
  if (input instanceof Tensor) return [input];
  if (!Array.isArray(input) || input.length === 0)
    fail('summary', `the input is ${describe(input)}`, 'pass an example tensor, or a shape such as [1, 784]');
  if (input.every((x) => x instanceof Tensor)) return input;
  return [zeros(input as number[], { device: model.parameters()[0]?.device })];
}
