import { describe, fail, show } from '../errors.js';
import { Linear, Module, ReLU, Sequential, Sigmoid, Tanh } from '../nn/index.js';
import { sameShape } from '../shape.js';
import { readFile, writeAtomically } from './files.js';
import { fromSafetensors, toSafetensors } from './safetensors.js';

// A model in one safetensors file: its weights, and in the metadata under 'tapegrad' what it is made of, as JSON with a
// version. Other readers of safetensors see the weights.

const KEY = 'tapegrad';
const VERSION = 1;

/** A layer as it is written down. */
type Described = { readonly type: string } & Readonly<Record<string, unknown>>;

interface Layer {
  /** Whether a module is exactly this layer. */
  readonly is: (m: Module) => boolean;
  readonly describe: (m: never) => Readonly<Record<string, unknown>>;
  /** The shapes of the parameters, by name below `path`. @throws TapegradError for attributes that make no sense */
  readonly shapes: (d: Described, path: string) => [name: string, shape: readonly number[]][];
  readonly make: (d: Described) => Module;
}

const of =
  (Class: new (...args: never[]) => Module) =>
  (m: Module): boolean =>
    m.constructor === Class;

const plain = (Class: new () => Module): Layer => ({
  is: of(Class),
  describe: () => ({}),
  shapes: () => [],
  make: () => new Class(),
});

/** The layers that can be written down. */
const layers: Readonly<Record<string, Layer>> = {
  Linear: {
    is: of(Linear),
    describe: ({ inFeatures, outFeatures, bias }: Linear) => ({ inFeatures, outFeatures, bias: bias !== null }),
    shapes: ({ inFeatures, outFeatures, bias }, path) => {
      const whole = (v: unknown): v is number => Number.isSafeInteger(v) && (v as number) > 0;
      if (!whole(inFeatures) || !whole(outFeatures) || typeof bias !== 'boolean')
        bad(
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
    describe: ({ modules }: Sequential) => ({ modules: modules.map((m, i) => describeModule(m, `${i}`)) }),
    shapes: ({ modules }, path) => {
      if (!Array.isArray(modules)) bad(`${path || 'the model'} is a Sequential of ${describe(modules)}`);
      return modules.flatMap((m, i) => shapesOf(m, `${path}${i}.`));
    },
    make: ({ modules }) => new Sequential(...(modules as Described[]).map(make)),
  },
};

function describeModule(m: Module, path: string): Described {
  for (const [type, layer] of Object.entries(layers)) {
    if (layer.is(m)) return { type, ...layer.describe(m as never) };
  }
  fail(
    'saveModel',
    `module ${path || 'at the top'} is ${describe(m)}, which cannot be written down`,
    `use nn.Sequential of ${Object.keys(layers).join(', ')}, or save(model.stateDict(), path) and build the model in code`,
  );
}

/** Deep enough for any model, and not for a file that wants to exhaust the stack. */
const MOST_DOTS = 64;

function shapesOf(d: unknown, path: string): [string, readonly number[]][] {
  const type = typeof d === 'object' && d !== null ? (d as Described).type : undefined;
  if (typeof type !== 'string' || !Object.hasOwn(layers, type))
    bad(`${path || 'the model'} is ${describe(type ?? d)}; known are ${Object.keys(layers).join(', ')}`);
  if (path.split('.').length > MOST_DOTS) bad(`its layers are nested deeper than ${MOST_DOTS}`);
  return layers[type].shapes(d as Described, path);
}

const make = (d: Described): Module => layers[d.type].make(d);

/**
 * Saves a model with its architecture in one safetensors file, whose weights other programs can read. Written beside and
 * renamed, so that a crash leaves either the old file or the new one.
 *
 * @param model an nn.Sequential of the layers of nn, or one such layer
 * @throws TapegradError for modules of other classes, before anything is written, and if the path cannot be written
 */
export async function saveModel(model: Module, path: string): Promise<void> {
  if (!(model instanceof Module)) fail('saveModel', `the model is ${describe(model)}`, 'pass a module');
  const description = JSON.stringify({ version: VERSION, architecture: describeModule(model, '') });
  await writeAtomically('saveModel', path, await toSafetensors(model.stateDict(), { [KEY]: description }));
}

/**
 * Loads a model that `saveModel` has written. Nothing in the file is executed, and nothing is made before the described
 * architecture and the weights that are there agree.
 *
 * @throws TapegradError for other files, for layers or versions that this release does not know, and for weights that do
 *   not belong to the architecture
 */
export async function loadModel(path: string): Promise<Module> {
  const { tensors, metadata } = fromSafetensors(await readFile('loadModel', path));
  const text = metadata[KEY];
  if (text === undefined) {
    fail('loadModel', `${path} describes no architecture`, 'load(path) gives its tensors for model.loadStateDict');
  }
  const architecture = parse(text);
  const expected = new Map(shapesOf(architecture, ''));
  for (const [name, shape] of expected) {
    const t = Object.hasOwn(tensors, name) ? tensors[name] : undefined;
    if (t === undefined || !sameShape(t.shape, shape))
      bad(`'${name}' is ${t === undefined ? 'missing' : show(t.shape)} where the architecture has ${show(shape)}`);
  }
  const surplus = Object.keys(tensors).filter((name) => !expected.has(name));
  if (surplus.length > 0) bad(`the architecture has no ${surplus.join(', ')}`);
  const model = make(architecture);
  model.loadStateDict(tensors);
  return model;
}

function parse(text: string): Described {
  let description: unknown;
  try {
    description = JSON.parse(text);
  } catch (cause) {
    bad(`its description is no JSON: ${(cause as Error).message}`);
  }
  const { version, architecture } = (description ?? {}) as Record<string, unknown>;
  if (version !== VERSION)
    fail('loadModel', `the file has version ${describe(version)}, this release reads ${VERSION}`, 'update tapegrad');
  return architecture as Described;
}

function bad(problem: string): never {
  fail('loadModel', problem, 'the file is damaged or was changed; get a fresh copy');
}
