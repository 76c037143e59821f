import { describe, fail } from '../errors.js';
import { type Module, Sequential, type TensorModule } from '../nn/index.js';
import { type Described, damaged, layers as known, type Layer, of } from './layers.js';

// The architecture of a model as JSON: one table of the layers that can be saved.

export { type Described, damaged } from './layers.js';

/** The layers that can be saved. */
const layers: Readonly<Record<string, Layer>> = {
  ...known,
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

/** The shapes of a described module's parameters and buffers, by name. @throws TapegradError for an invalid description */
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
