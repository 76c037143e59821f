import { describe, fail } from '../errors.js';
import type { Module, TensorModule } from '../nn/index.js';
import * as nn from '../nn/index.js';

// The layers that a file can describe: their attributes, which are checked before anything is made of them, and the shapes of
// their parameters and buffers.

/** The description of a layer in a file. */
export type Described = { readonly type: string } & Readonly<Record<string, unknown>>;

/** The names and shapes of parameters and buffers. */
export type Shapes = [name: string, shape: readonly number[]][];

export interface Layer {
  /** Whether a module is exactly this layer. */
  readonly is: (m: Module) => boolean;
  readonly describe: (m: never, op: string) => Readonly<Record<string, unknown>>;
  /** The shapes of the parameters and buffers, by name below `path`. @throws TapegradError for invalid attributes */
  readonly shapes: (d: Described, path: string) => Shapes;
  readonly make: (d: Described) => TensorModule;
}

export const of =
  (Class: new (...args: never[]) => Module) =>
  (m: Module): boolean =>
    m.constructor === Class;

/** Reports that a model file is not what saveModel wrote. */
export function damaged(problem: string): never {
  fail('loadModel', problem, 'the file is damaged or was changed; get a fresh copy');
}

/** The kinds of attributes. */
const kinds = {
  boolean: (v: unknown) => typeof v === 'boolean',
  number: (v: unknown) => Number.isFinite(v),
  numberOrNull: (v: unknown) => v === null || Number.isFinite(v),
  probability: (v: unknown) => typeof v === 'number' && v >= 0 && v <= 1,
  integer: (v: unknown) => Number.isSafeInteger(v),
  rowOrNull: (v: unknown) => v === null || (Number.isSafeInteger(v) && (v as number) >= 0),
  size: (v: unknown) => Number.isSafeInteger(v) && (v as number) > 0,
  sizes: (v: unknown) => Array.isArray(v) && v.length > 0 && v.every((d) => Number.isSafeInteger(d) && d >= 0),
  approximation: (v: unknown) => v === 'none' || v === 'tanh',
} as const;

type Kind = keyof typeof kinds;

interface Definition {
  readonly Class: new (...args: never[]) => TensorModule;
  /** The positional arguments of the constructor. */
  readonly positional?: Readonly<Record<string, Kind>>;
  /** The options of the constructor. */
  readonly options?: Readonly<Record<string, Kind>>;
  /** Attributes that are not fields of the module. */
  readonly read?: (m: never) => Readonly<Record<string, unknown>>;
  /** Whether attributes of the right kinds go together. */
  readonly valid?: (d: Described) => boolean;
  /** The shapes of parameters and buffers of checked attributes; none by default. */
  readonly shapes?: (d: Described) => Record<string, readonly number[] | false>;
}

function define({ Class, positional = {}, options = {}, read, valid, shapes }: Definition): Layer {
  const all = { ...positional, ...options };
  const names = Object.keys(all);
  return {
    is: of(Class),
    describe: (m) => {
      const values = { ...pick(m, names), ...read?.(m) };
      return Object.fromEntries(names.map((name) => [name, values[name]]));
    },
    shapes: (d, path) => {
      if (!names.every((name) => kinds[all[name]](d[name])) || (valid !== undefined && !valid(d)))
        damaged(
          `${path || 'the model'} is a ${d.type} with ${names.map((name) => `${name} ${describe(d[name])}`).join(', ')}`,
        );
      return Object.entries(shapes?.(d) ?? {}).flatMap(
        ([name, shape]): Shapes => (shape === false ? [] : [[`${path}${name}`, shape]]),
      );
    },
    make: (d) => {
      const args: unknown[] = Object.keys(positional).map((name) => d[name]);
      if (Object.keys(options).length > 0) args.push(pick(d, Object.keys(options)));
      return new Class(...(args as never[]));
    },
  };
}

const pick = (from: object, names: readonly string[]): Record<string, unknown> =>
  Object.fromEntries(names.map((name) => [name, (from as Record<string, unknown>)[name]]));

const plain = (Class: new () => TensorModule): Layer => define({ Class });

/** Whether there is a weight: the option that asks for one has different names. */
const weightAs = (option: string) => (m: nn.LayerNorm | nn.RMSNorm | nn.GroupNorm) => ({
  [option]: m.weight !== null,
});

const batchNorm = (Class: typeof nn.BatchNorm1d | typeof nn.BatchNorm2d): Layer =>
  define({
    Class,
    positional: { numFeatures: 'size' },
    options: { eps: 'number', momentum: 'numberOrNull', affine: 'boolean', trackRunningStats: 'boolean' },
    read: (m: nn.BatchNorm1d) => ({ affine: m.weight !== null, trackRunningStats: m.runningMean !== null }),
    shapes: ({ numFeatures, affine, trackRunningStats }) => {
      const one = [numFeatures as number];
      return {
        weight: affine === true && one,
        bias: affine === true && one,
        running_mean: trackRunningStats === true && one,
        running_var: trackRunningStats === true && one,
        num_batches_tracked: trackRunningStats === true && [],
      };
    },
  });

/** The layers that can be saved, without containers. */
export const layers: Readonly<Record<string, Layer>> = {
  Linear: define({
    Class: nn.Linear,
    positional: { inFeatures: 'size', outFeatures: 'size' },
    options: { bias: 'boolean' },
    read: ({ bias }: nn.Linear) => ({ bias: bias !== null }),
    shapes: ({ inFeatures, outFeatures, bias }) => ({
      weight: [outFeatures as number, inFeatures as number],
      bias: bias === true && [outFeatures as number],
    }),
  }),
  ReLU: plain(nn.ReLU),
  Sigmoid: plain(nn.Sigmoid),
  Tanh: plain(nn.Tanh),
  GELU: define({ Class: nn.GELU, options: { approximate: 'approximation' } }),
  SiLU: plain(nn.SiLU),
  Mish: plain(nn.Mish),
  LeakyReLU: define({ Class: nn.LeakyReLU, positional: { slope: 'number' } }),
  ELU: define({ Class: nn.ELU, positional: { alpha: 'number' } }),
  ReLU6: plain(nn.ReLU6),
  Softplus: define({ Class: nn.Softplus, options: { beta: 'number', threshold: 'number' } }),
  Softmax: define({ Class: nn.Softmax, positional: { dim: 'integer' } }),
  LogSoftmax: define({ Class: nn.LogSoftmax, positional: { dim: 'integer' } }),
  Identity: plain(nn.Identity),
  Flatten: define({ Class: nn.Flatten, positional: { startDim: 'integer', endDim: 'integer' } }),
  Dropout: define({ Class: nn.Dropout, positional: { p: 'probability' } }),
  Embedding: define({
    Class: nn.Embedding,
    positional: { numEmbeddings: 'size', embeddingDim: 'size' },
    options: { paddingIdx: 'rowOrNull' },
    valid: ({ paddingIdx, numEmbeddings }) => paddingIdx === null || (paddingIdx as number) < (numEmbeddings as number),
    shapes: ({ numEmbeddings, embeddingDim }) => ({ weight: [numEmbeddings as number, embeddingDim as number] }),
  }),
  LayerNorm: define({
    Class: nn.LayerNorm,
    positional: { normalizedShape: 'sizes' },
    options: { eps: 'number', elementwiseAffine: 'boolean', bias: 'boolean' },
    read: (m: nn.LayerNorm) => ({ ...weightAs('elementwiseAffine')(m), bias: m.bias !== null }),
    shapes: ({ normalizedShape, elementwiseAffine, bias }) => ({
      weight: elementwiseAffine === true && (normalizedShape as number[]),
      bias: elementwiseAffine === true && bias === true && (normalizedShape as number[]),
    }),
  }),
  RMSNorm: define({
    Class: nn.RMSNorm,
    positional: { normalizedShape: 'sizes' },
    options: { eps: 'number', elementwiseAffine: 'boolean' },
    read: weightAs('elementwiseAffine'),
    shapes: ({ normalizedShape, elementwiseAffine }) => ({
      weight: elementwiseAffine === true && (normalizedShape as number[]),
    }),
  }),
  GroupNorm: define({
    Class: nn.GroupNorm,
    positional: { numGroups: 'size', numChannels: 'size' },
    options: { eps: 'number', affine: 'boolean' },
    read: weightAs('affine'),
    valid: ({ numGroups, numChannels }) => (numChannels as number) % (numGroups as number) === 0,
    shapes: ({ numChannels, affine }) => ({
      weight: affine === true && [numChannels as number],
      bias: affine === true && [numChannels as number],
    }),
  }),
  BatchNorm1d: batchNorm(nn.BatchNorm1d),
  BatchNorm2d: batchNorm(nn.BatchNorm2d),
};
