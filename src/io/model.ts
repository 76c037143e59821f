import { type Baseline, checkBaseline } from '../data/baseline.js';
import { isPreprocessor, type Preprocessor, preprocessorFromJSON, preprocessorToJSON } from '../data/preprocessors.js';
import { checkOptions, describe, fail, show } from '../errors.js';
import { Module, type TensorModule } from '../nn/index.js';
import { allParameters, assignParameter } from '../nn/module.js';
import { sameShape } from '../shape.js';
import { type Described, damaged, describeModule, flatten, make, shapesOf } from './architecture.js';
import { readFile, writeAtomically } from './disk.js';
import { fromSafetensors, toSafetensors } from './safetensors.js';

// A model in one safetensors file: the weights as tensors; architecture, preprocessors, baseline and labels as versioned JSON
// in the metadata under 'tapegrad'. Other readers of safetensors see the weights.

const KEY = 'tapegrad';
/**
 * A file has the lowest version whose readers understand all of it: 2 adds shared parameters; 3 renames the keys of version 1
 * for preprocessors ('preparation') and baseline ('profile'), which readers of versions 1 and 2 would silently ignore.
 */
const VERSIONS = [1, 2, 3];

/** What a model file can contain besides weights and architecture. */
export interface ModelExtras {
  /** The fitted preprocessors, in the order in which they are applied before the model. */
  preprocessors?: readonly Preprocessor[];
  /** Statistics of the training data before preprocessing, for drift monitoring; made by `data.computeBaseline`. */
  baseline?: Baseline;
  /** The names of the classes, one for each output. */
  labels?: readonly string[];
}

/** The contents of a model file. */
export interface ModelFile extends Required<Omit<ModelExtras, 'baseline'>> {
  /** The model with its weights, in training mode. */
  readonly model: TensorModule;
  /** The baseline for drift monitoring; null if the file has none. */
  readonly baseline: Baseline | null;
  /** The number of features of a sample; null for a model that accepts any number. */
  readonly inputFeatures: number | null;
  /** The number of outputs for a sample; null if it is the number of features. */
  readonly outputFeatures: number | null;
}

/**
 * Saves a model with its architecture in one safetensors file. Other programs can read the weights. The file is written
 * under a temporary name and then renamed, so that a crash leaves either the old file or the new one.
 *
 * @param model an nn.Sequential of the layers of nn, or one such layer
 * @param path the file name, usually ending in .safetensors
 * @param extras fitted preprocessors, baseline of the training data, names of the classes
 * @throws TapegradError for modules of other classes and for extras that do not match the model, before anything is written;
 *   and if the path cannot be written
 * @example
 * ```ts
 * import { data, nn, randn } from 'tapegrad';
 * import { loadModelFile, saveModel } from 'tapegrad/io';
 *
 * const model = new nn.Sequential(new nn.Linear(4, 8), new nn.ReLU(), new nn.Linear(8, 2));
 * const scaler = new data.StandardScaler().fit(randn([100, 4]));
 * await saveModel(model, 'model.safetensors', { preprocessors: [scaler], labels: ['no', 'yes'] });
 * const file = await loadModelFile('model.safetensors');
 * console.log(file.inputFeatures, file.labels); // 4 ['no', 'yes']
 * ```
 */
export async function saveModel(model: Module, path: string, extras: ModelExtras = {}): Promise<void> {
  checkOptions('saveModel', extras, ['preprocessors', 'baseline', 'labels']);
  if (!(model instanceof Module)) fail('saveModel', `the model is ${describe(model)}`, 'pass a module');
  const architecture = describeModule('saveModel', model);
  const { preprocessors = [], baseline, labels = [] } = extras;
  preprocessors.forEach((p, i) => {
    if (!isPreprocessor(p))
      fail(
        'saveModel',
        `preprocessors[${i}] is ${describe(p)}`,
        'pass fitted StandardScaler, MinMaxScaler and Imputer objects in the order in which they are applied',
      );
  });
  const sharing = sharedParameters(model);
  const frozen = model.namedParameters().flatMap(([name, p]) => (p.requiresGrad ? [] : [name]));
  const description = {
    version: preprocessors.length > 0 || baseline !== undefined ? 3 : Object.keys(sharing).length > 0 ? 2 : 1,
    architecture,
    ...(Object.keys(sharing).length > 0 ? { shared: sharing } : {}),
    ...(frozen.length > 0 ? { frozen } : {}),
    ...(preprocessors.length > 0 ? { preprocessors: preprocessors.map(preprocessorToJSON) } : {}),
    ...(baseline === undefined ? {} : { baseline }),
    ...(labels.length > 0 ? { labels } : {}),
  };
  readExtras('saveModel', description);
  const described = new Set(shapesOf(architecture).map(([name]) => name));
  const surplus = Object.keys(model.stateDict()).filter((name) => !described.has(name));
  if (surplus.length > 0)
    fail(
      'saveModel',
      `the model has ${surplus.join(', ')}, which do not belong to its layers`,
      'use save(model.stateDict(), path) and build the model in code',
    );
  await writeAtomically(
    'saveModel',
    path,
    await toSafetensors(model.stateDict(), { [KEY]: JSON.stringify(description) }),
  );
}

/**
 * Loads a model that `saveModel` has written. Nothing in the file is executed, and no layer is created before the weights in
 * the file have been checked against its architecture.
 *
 * @param path the file name
 * @returns the model, in training mode
 * @throws TapegradError if the file cannot be read or was not written by `saveModel`, for layers or versions that this release
 *   does not know, and for weights that do not match the architecture
 * @example
 * ```ts
 * import { nn } from 'tapegrad';
 * import { loadModel, saveModel } from 'tapegrad/io';
 *
 * await saveModel(new nn.Linear(4, 2), 'model.safetensors');
 * const model = await loadModel('model.safetensors');
 * model.eval();
 * ```
 */
export async function loadModel(path: string): Promise<TensorModule> {
  return (await loadModelFile(path)).model;
}

/**
 * Loads a model file with everything in it: model, preprocessors, baseline and labels.
 *
 * @param source a file name, or the bytes of a file
 * @returns the contents of the file
 * @throws TapegradError as {@link loadModel}
 * @example
 * ```ts
 * import { nn } from 'tapegrad';
 * import { loadModelFile, saveModel } from 'tapegrad/io';
 *
 * await saveModel(new nn.Linear(4, 2), 'model.safetensors', { labels: ['no', 'yes'] });
 * console.log((await loadModelFile('model.safetensors')).labels); // ['no', 'yes']
 * ```
 */
export async function loadModelFile(source: string | Uint8Array): Promise<ModelFile> {
  const [bytes, name] =
    typeof source === 'string' ? [await readFile('loadModel', source), source] : [source, 'the file'];
  const { tensors, metadata } = fromSafetensors(bytes);
  const text = metadata[KEY];
  if (text === undefined) {
    fail(
      'loadModel',
      `${name} does not describe an architecture`,
      'load(path) returns its tensors for model.loadStateDict',
    );
  }
  const description = parse(text);
  const expected = new Map(shapesOf(description.architecture));
  for (const [name, shape] of expected) {
    const t = Object.hasOwn(tensors, name) ? tensors[name] : undefined;
    if (t === undefined || !sameShape(t.shape, shape))
      damaged(`'${name}' is ${t === undefined ? 'missing' : show(t.shape)} where the architecture has ${show(shape)}`);
  }
  const surplus = Object.keys(tensors).filter((name) => !expected.has(name));
  if (surplus.length > 0) damaged(`the architecture has no ${surplus.join(', ')}`);
  const extras = readExtras('loadModel', description);
  const model = make(description.architecture);
  restoreParameters(model, description);
  model.loadStateDict(tensors);
  return { model, ...extras };
}

interface Description {
  readonly architecture: Described;
  readonly preprocessors?: unknown;
  readonly baseline?: unknown;
  /** The preprocessors in files of versions 1 and 2. */
  readonly preparation?: unknown;
  /** The baseline in files of versions 1 and 2. */
  readonly profile?: unknown;
  readonly labels?: unknown;
  /** For each further path of a shared parameter its first path. */
  readonly shared?: unknown;
  /** The paths of parameters with requiresGrad false. */
  readonly frozen?: unknown;
}

/** For each further path of a shared parameter its first path. */
function sharedParameters(model: Module): Record<string, string> {
  const first = new Map(model.namedParameters().map(([name, p]) => [p, name]));
  return Object.fromEntries(
    allParameters(model).flatMap(([name, p]) => (first.get(p) === name ? [] : [[name, first.get(p)!]])),
  );
}

/** Shares and freezes parameters of a new model as described. @throws TapegradError for paths that do not exist */
function restoreParameters(model: Module, { shared = {}, frozen = [] }: Description): void {
  if (typeof shared !== 'object' || shared === null || !Array.isArray(frozen))
    damaged(`shared is ${describe(shared)} and frozen ${describe(frozen)}`);
  for (const [name, first] of Object.entries(shared)) {
    const parameters = new Map(allParameters(model));
    const [own, other] = [parameters.get(name), parameters.get(first)];
    if (own === undefined || other === undefined || !sameShape(own.shape, other.shape))
      damaged(`'${name}' and ${describe(first)} cannot be one parameter`);
    assignParameter(model, name, other);
  }
  const parameters = new Map(allParameters(model));
  for (const name of frozen) {
    const p = parameters.get(name) ?? damaged(`the frozen parameter ${describe(name)} does not exist`);
    p.requiresGrad = false;
  }
}

/** Restores the extras, and checks them against the sizes of the model. */
function readExtras(op: string, description: Description) {
  const { architecture, labels = [] } = description;
  const preprocessors = description.preprocessors ?? description.preparation ?? [];
  const baseline = description.baseline ?? description.profile ?? null;
  const wrong = (problem: string): never =>
    op === 'loadModel' ? damaged(problem) : fail(op, problem, 'pass extras that were made for this model and its data');
  const all = flatten(architecture).map(([d]) => d);
  const linears = all.filter((d) => d.type === 'Linear');
  // A model that begins with an embedding takes any number of indices.
  const embeds = all.findIndex((d) => d.type === 'Embedding');
  const first = embeds >= 0 && embeds < all.indexOf(linears[0]) ? undefined : linears.at(0);
  const inputFeatures = (first?.inFeatures ?? null) as number | null;
  const outputFeatures = (linears.at(-1)?.outFeatures ?? null) as number | null;
  if (!Array.isArray(preprocessors)) wrong(`the preprocessors are ${describe(preprocessors)}`);
  const restored = (preprocessors as unknown[]).map(preprocessorFromJSON);
  for (const { features, name } of restored) {
    if (inputFeatures !== null && features !== inputFeatures)
      wrong(`a ${name} has ${features} features, the model ${inputFeatures}`);
  }
  if (baseline !== null) {
    const { features, outputs } = checkBaseline(op, baseline);
    if (inputFeatures !== null && features.length !== inputFeatures)
      wrong(`the baseline has ${features.length} features, the model ${inputFeatures}`);
    if (outputFeatures !== null && outputs.length > 0 && outputs.length !== outputFeatures)
      wrong(`the baseline has ${outputs.length} outputs, the model ${outputFeatures}`);
  }
  if (!Array.isArray(labels) || !labels.every((l) => typeof l === 'string'))
    wrong(`the labels are ${describe(labels)}`);
  if (outputFeatures !== null && (labels as string[]).length > 0 && (labels as string[]).length !== outputFeatures)
    wrong(`there are ${(labels as string[]).length} labels for ${outputFeatures} outputs`);
  return {
    preprocessors: restored.map((p) => p.preprocessor),
    baseline: baseline as Baseline | null,
    labels: labels as string[],
    inputFeatures,
    outputFeatures,
  };
}

function parse(text: string): Description {
  let description: unknown;
  try {
    description = JSON.parse(text);
  } catch (cause) {
    damaged(`its description is not JSON: ${(cause as Error).message}`);
  }
  const { version } = (description ?? {}) as Record<string, unknown>;
  if (!VERSIONS.includes(version as number))
    fail(
      'loadModel',
      `the file has version ${describe(version)}, this release reads ${VERSIONS.join(', ')}`,
      'update tapegrad',
    );
  return description as Description;
}
