import { noGrad } from '../autograd/mode.js';
import { zeros } from '../create.js';
import { describe, fail, show } from '../errors.js';
import { Tensor } from '../methods.js';
import { Module } from './module.js';

/** One module of a summary. */
export interface SummaryRow {
  /** '' for the model itself. */
  readonly path: string;
  readonly type: string;
  /** The shape of what it gave in the first call; null for a module that was not called, or did not give one tensor. */
  readonly outputShape: readonly number[] | null;
  /** The numbers in its own parameters, without those of the modules inside; what is shared counts where it comes first. */
  readonly parameters: number;
}

/** What `summary` found. Prints as a table. */
export class Summary {
  constructor(
    readonly rows: readonly SummaryRow[],
    /** The numbers in all parameters, each once. */
    readonly parameters: number,
    /** Those of them that require a gradient. */
    readonly trainable: number,
  ) {}

  /** A table with a line for each module, and the totals. */
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
 * Runs a model once, in evaluation mode and without gradients, and says for each module what it gives and how many numbers
 * its parameters have. The model is left as it was.
 *
 * @param model any module
 * @param input an example tensor, an array of them for a forward with several inputs, or the shape of one input, which is
 *   then filled with zeros
 * @throws TapegradError for other arguments, and what the model throws for this input
 * @example
 * console.log(String(summary(model, [1, 784])));
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
  const counted = new Set<Tensor>();
  const paths = modules.map(([path]) => path).sort((a, b) => b.length - a.length);
  const own = new Map<string, number>();
  for (const [name, p] of model.namedParameters()) {
    if (counted.has(p)) continue;
    counted.add(p);
    const home = paths.find((path) => path === '' || name.startsWith(`${path}.`)) ?? '';
    own.set(home, (own.get(home) ?? 0) + p.size);
  }
  const rows = modules.map(([path, m]) => ({
    path,
    type: m.constructor.name,
    outputShape: shapes.get(m) ?? null,
    parameters: own.get(path) ?? 0,
  }));
  const count = (all: Iterable<Tensor>) => [...all].reduce((sum, p) => sum + p.size, 0);
  return new Summary(rows, count(counted), count([...counted].filter((p) => p.requiresGrad)));
}

function asInputs(input: unknown, model: Module): Tensor[] {
  if (input instanceof Tensor) return [input];
  if (!Array.isArray(input) || input.length === 0)
    fail('summary', `the input is ${describe(input)}`, 'pass an example tensor, or a shape such as [1, 784]');
  if (input.every((x) => x instanceof Tensor)) return input;
  return [zeros(input as number[], { device: model.parameters()[0]?.device })];
}
