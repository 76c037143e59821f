import { describe, fail } from '../errors.js';
import { Linear, type Module, ReLU, Sequential, Sigmoid, Tanh, type TensorModule } from '../nn/index.js';

// The architecture of a model as JSON: one table of the layers that can be saved.

/** The description of a layer in a file. */
export type Described = { readonly type: string } & Readonly<Record<string, unknown>>;

interface Layer {
  /** Whether a module is exactly this layer. */
  readonly is: (m: Module) => boolean;
  readonly describe: (m: never, op: string) => Readonly<Record<string, unknown>>;
  /** The shapes of the parameters, by name below `path`. @throws TapegradError for invalid attributes */
  readonly shapes: (d: Described, path: string) => [name: string, shape: readonly number[]][];
  readonly make: (d: Described) => TensorModule;
}

const of =
  (Class: new (...args: never[]) => Module) =>
  (m: Module): boolean =>
    m.constructor === Class;

const plain = (Class: new () => TensorModule): Layer => ({
  is: of(Class),
  describe: () => ({}),
  shapes: () => [],
  make: () => new Class(),
});

/** The layers that can be saved. */
const layers: Readonly<Record<string, Layer>> = {
  Linear: {
    is: of(Linear),
    describe: ({ inFeatures, outFeatures, bias }: Linear) => ({ inFeatures, outFeatures, bias: bias !== null }),
    shapes: ({ inFeatures, outFeatures, bias }, path) => {
      const isSize = (v: unknown): v is number => Number.isSafeInteger(v) && (v as number) > 0;
      if (!isSize(inFeatures) || !isSize(outFeatures) || typeof bias !== 'boolean')
        damaged(
          `${path || 'the model'} is a Linear with inFeatures ${describe(inFeatures)}, outFeatures ${describe(outFeatures)}, bias ${describe(bias)}`,
        );
      const weight: [string, number[]] = [`${path}weight`, [outFeatures, inFeatures]];
      return bias ? [weight, [`${path}bias`, [outFeatures]]] : [weight];
    },
    make: ({ inFeatures, outFeatures, bias }) =>
      new Linear(inFeatures as number, outFeatures as number, { bias: bias as boolean }),
  },
  ReLU: plain(ReLU),
  Sigmoid: plain(Sigmoid),
  Tanh: plain(Tanh),
  Sequential: {
    is: of(Sequential),
    describe: ({ modules }: Sequential, op) => ({ modules: modules.map((m, i) => describeModule(op, m, `${i}`)) }),
    shapes: ({ modules }, path) => {
      if (!Array.isArray(modules)) damaged(`${path || 'the model'} is a Sequential of ${describe(modules)}`);
      return modules.flatMap((m, i) => shapesOf(m, `${path}${i}.`));
    },
    make: ({ modules }) => new Sequential(...(modules as Described[]).map(make)),
  },
};

/** The description of a module. @throws TapegradError naming a module of another class */
export function describeModule(op: string, m: Module, path = ''): Described {
  for (const [type, layer] of Object.entries(layers)) {
    if (layer.is(m)) return { type, ...layer.describe(m as never, op) };
  }
  fail(
    op,
    `module ${path || 'at the top'} is ${describe(m)}, which cannot be saved with its architecture`,
    `use nn.Sequential of ${Object.keys(layers).join(', ')}, or save(model.stateDict(), path) and build the model in code`,
  );
}

/** The limit on nested layers, so that a malicious file cannot exhaust the stack. */
const MAX_DEPTH = 64;

/** The shapes of a described module's parameters, by name. @throws TapegradError for an invalid description */
export function shapesOf(d: unknown, path = ''): [string, readonly number[]][] {
  const type = typeof d === 'object' && d !== null ? (d as Described).type : undefined;
  if (typeof type !== 'string' || !Object.hasOwn(layers, type))
    damaged(`${path || 'the model'} is ${describe(type ?? d)}; known are ${Object.keys(layers).join(', ')}`);
  if (path.split('.').length > MAX_DEPTH) damaged(`its layers are nested deeper than ${MAX_DEPTH}`);
  return layers[type].shapes(d as Described, path);
}

/** Creates a module from a description that `shapesOf` has checked. */
export const make = (d: Described): TensorModule => layers[d.type].make(d);

/** The layers of a checked description in order of execution, each with the path of its parameters. */
export function flatten(d: Described, path = ''): [layer: Described, path: string][] {
  if (d.type !== 'Sequential') return [[d, path]];
  return (d.modules as Described[]).flatMap((m, i) => flatten(m, `${path}${i}.`));
}

/** Reports that a model file is not what saveModel wrote. */
export function damaged(problem: string): never {
  fail('loadModel', problem, 'the file is damaged or was changed; get a fresh copy');
}
