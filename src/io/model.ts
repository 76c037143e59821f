import type { Preparation } from '../data/index.js';
import { fromPreparation, isPreparation, preparationJSON } from '../data/prepare.js';
import { checkProfile, type TrainingProfile } from '../data/profile.js';
import { checkOptions, describe, fail, show } from '../errors.js';
import { Module, type TensorModule } from '../nn/index.js';
import { allParameters, assignParameter } from '../nn/module.js';
import { sameShape } from '../shape.js';
import { type Described, damaged, describeModule, flatten, make, shapesOf } from './architecture.js';
import { readFile, writeAtomically } from './files.js';
import { fromSafetensors, toSafetensors } from './safetensors.js';

// A model in one safetensors file: its weights, and in the metadata under 'tapegrad' what it is made of and what belongs to
// it, as JSON with a version. Other readers of safetensors see the weights.

const KEY = 'tapegrad';
/** 2 where parameters are shared, which readers of version 1 would not know. */
const VERSIONS = [1, 2];

/** What belongs to a model beside its weights. */
export interface ModelExtras {
  /** The fitted preparation of the data, in the order in which it is applied before the model. */
  preparation?: readonly Preparation[];
  /** What the training data looked like before the preparation; made by data.trainingProfile. */
  profile?: TrainingProfile;
  /** The names of the classes, one for each output. */
  labels?: readonly string[];
}

/** A model file as it was read. */
export interface ModelFile extends Required<Omit<ModelExtras, 'profile'>> {
  readonly model: TensorModule;
  readonly profile: TrainingProfile | null;
  /** How many numbers a sample has, and how many its prediction; null where any number goes. */
  readonly inputFeatures: number | null;
  readonly outputFeatures: number | null;
}

/**
 * Saves a model with its architecture in one safetensors file, whose weights other programs can read; with its fitted
 * preparation and the profile of its training data if they are given. Written beside and renamed, so that a crash leaves
 * either the old file or the new one.
 *
 * @param model an nn.Sequential of the layers of nn, or one such layer
 * @throws TapegradError for modules of other classes and extras that do not belong to the model, before anything is
 *   written, and if the path cannot be written
 */
export async function saveModel(model: Module, path: string, extras: ModelExtras = {}): Promise<void> {
  checkOptions('saveModel', extras, ['preparation', 'profile', 'labels']);
  if (!(model instanceof Module)) fail('saveModel', `the model is ${describe(model)}`, 'pass a module');
  const architecture = describeModule('saveModel', model);
  const { preparation = [], profile, labels = [] } = extras;
  preparation.forEach((p, i) => {
    if (!isPreparation(p))
      fail(
        'saveModel',
        `preparation[${i}] is ${describe(p)}`,
        'pass fitted StandardScaler, MinMaxScaler and Imputer objects in the order in which they are applied',
      );
  });
  const sharing = sharedParameters(model);
  const frozen = model.namedParameters().flatMap(([name, p]) => (p.requiresGrad ? [] : [name]));
  const description = {
    version: Object.keys(sharing).length > 0 ? 2 : 1,
    architecture,
    ...(Object.keys(sharing).length > 0 ? { shared: sharing } : {}),
    ...(frozen.length > 0 ? { frozen } : {}),
    ...(preparation.length > 0 ? { preparation: preparation.map(preparationJSON) } : {}),
    ...(profile === undefined ? {} : { profile }),
    ...(labels.length > 0 ? { labels } : {}),
  };
  readExtras('saveModel', description);
  const described = new Set(shapesOf(architecture).map(([name]) => name));
  const surplus = Object.keys(model.stateDict()).filter((name) => !described.has(name));
  if (surplus.length > 0)
    fail(
      'saveModel',
      `the model has ${surplus.join(', ')}, which its layers do not have by themselves`,
      'use save(model.stateDict(), path) and build the model in code',
    );
  await writeAtomically(
    'saveModel',
    path,
    await toSafetensors(model.stateDict(), { [KEY]: JSON.stringify(description) }),
  );
}

/**
 * Loads a model that `saveModel` has written. Nothing in the file is executed, and nothing is made before the described
 * architecture and the weights that are there agree.
 *
 * @throws TapegradError for other files, for layers or versions that this release does not know, and for weights that do
 *   not belong to the architecture
 */
export async function loadModel(path: string): Promise<TensorModule> {
  return (await loadModelFile(path)).model;
}

/** As loadModel, from a path or the bytes of a file, with everything that belongs to the model. @throws TapegradError as loadModel */
export async function loadModelFile(source: string | Uint8Array): Promise<ModelFile> {
  const [bytes, name] =
    typeof source === 'string' ? [await readFile('loadModel', source), source] : [source, 'the file'];
  const { tensors, metadata } = fromSafetensors(bytes);
  const text = metadata[KEY];
  if (text === undefined) {
    fail('loadModel', `${name} describes no architecture`, 'load(path) gives its tensors for model.loadStateDict');
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
  readonly preparation?: unknown;
  readonly profile?: unknown;
  readonly labels?: unknown;
  /** The paths of parameters that are others once more, with the paths of those. */
  readonly shared?: unknown;
  /** The paths of parameters that required no gradient. */
  readonly frozen?: unknown;
}

/** The later paths of shared parameters, each with the first one. */
function sharedParameters(model: Module): Record<string, string> {
  const first = new Map(model.namedParameters().map(([name, p]) => [p, name]));
  return Object.fromEntries(
    allParameters(model).flatMap(([name, p]) => (first.get(p) === name ? [] : [[name, first.get(p)!]])),
  );
}

/** Shares and freezes the parameters of a new model as the description says. @throws TapegradError for paths that are not there */
function restoreParameters(model: Module, { shared = {}, frozen = [] }: Description): void {
  if (typeof shared !== 'object' || shared === null || !Array.isArray(frozen))
    damaged(`shared is ${describe(shared)} and frozen ${describe(frozen)}`);
  for (const [name, first] of Object.entries(shared)) {
    const parameters = new Map(allParameters(model));
    const [own, other] = [parameters.get(name), parameters.get(first)];
    if (own === undefined || other === undefined || !sameShape(own.shape, other.shape))
      damaged(`'${name}' and ${describe(first)} do not go together as one parameter`);
    assignParameter(model, name, other);
  }
  const parameters = new Map(allParameters(model));
  for (const name of frozen) {
    const p = parameters.get(name) ?? damaged(`the frozen parameter ${describe(name)} is not there`);
    p.requiresGrad = false;
  }
}

/** Checks what belongs to a model against the model's own sizes. */
function readExtras(op: string, { architecture, preparation = [], profile = null, labels = [] }: Description) {
  const wrong = (problem: string): never =>
    op === 'loadModel' ? damaged(problem) : fail(op, problem, 'pass what was made for this model and its data');
  const linears = flatten(architecture).flatMap(([d]) => (d.type === 'Linear' ? [d] : []));
  const inputFeatures = (linears.at(0)?.inFeatures ?? null) as number | null;
  const outputFeatures = (linears.at(-1)?.outFeatures ?? null) as number | null;
  if (!Array.isArray(preparation)) wrong(`the preparation is ${describe(preparation)}`);
  const prepared = (preparation as unknown[]).map((json) => fromPreparation(json));
  for (const { features, name } of prepared) {
    if (inputFeatures !== null && features !== inputFeatures)
      wrong(`a ${name} of ${features} features stands before a model of ${inputFeatures}`);
  }
  if (profile !== null) {
    const { features, outputs } = checkProfile(op, profile);
    if (inputFeatures !== null && features.length !== inputFeatures)
      wrong(`the profile has ${features.length} features, the model ${inputFeatures}`);
    if (outputFeatures !== null && outputs.length > 0 && outputs.length !== outputFeatures)
      wrong(`the profile has ${outputs.length} outputs, the model ${outputFeatures}`);
  }
  if (!Array.isArray(labels) || !labels.every((l) => typeof l === 'string'))
    wrong(`the labels are ${describe(labels)}`);
  if (outputFeatures !== null && (labels as string[]).length > 0 && (labels as string[]).length !== outputFeatures)
    wrong(`there are ${(labels as string[]).length} labels for ${outputFeatures} outputs`);
  return {
    preparation: prepared.map((p) => p.preparation),
    profile: profile as TrainingProfile | null,
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
    damaged(`its description is no JSON: ${(cause as Error).message}`);
  }
  const { version } = (description ?? {}) as Record<string, unknown>;
  if (!VERSIONS.includes(version as number))
    fail(
      'loadModel',
      `the file has version ${describe(version)}, this release reads ${VERSIONS.join(' and ')}`,
      'update tapegrad',
    );
  return description as Description;
}
