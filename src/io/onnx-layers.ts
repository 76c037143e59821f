import type { onnx as Onnx } from 'onnx-proto';
import { fail, show } from '../errors.js';
import { sizeOf } from '../shape.js';
import type { Described } from './layers.js';

// What a layer is in ONNX (https://onnx.ai/onnx/operators, operator set 17). The first dimension of a value counts samples, and
// its size is not known.

type Library = typeof Onnx;
type Shape = readonly number[];

/** One layer while it is written. */
export class LayerWriter {
  readonly nodes: Onnx.INodeProto[] = [];
  readonly constants: Onnx.ITensorProto[] = [];

  constructor(
    private readonly onnx: Library,
    readonly layer: Described,
    /** The path of its parameters, which ends in a dot or is empty. */
    readonly path: string,
    /** The shape of the input. */
    readonly shape: Shape,
    /** The names of the values. */
    readonly input: string,
    readonly output: string,
    /** The shape of the model's input. */
    private readonly modelShape: Shape,
  ) {}

  /** A number of the description. */
  number(name: string): number {
    return this.layer[name] as number;
  }

  /** Adds an operator, and returns the name of its result: that of the layer, or one with a suffix. */
  op(opType: string, input: string[], suffix: string, attribute: Onnx.IAttributeProto[] = []): string {
    const name = suffix === '' ? this.output : `${this.output}.${suffix}`;
    this.nodes.push({ name, opType, input, output: [name], ...(attribute.length > 0 ? { attribute } : {}) });
    return name;
  }

  int(name: string, i: number): Onnx.IAttributeProto {
    return { name, type: this.onnx.AttributeProto.AttributeType.INT, i };
  }

  ints(name: string, ints: number[]): Onnx.IAttributeProto {
    return { name, type: this.onnx.AttributeProto.AttributeType.INTS, ints };
  }

  float(name: string, f: number): Onnx.IAttributeProto {
    return { name, type: this.onnx.AttributeProto.AttributeType.FLOAT, f };
  }

  /** A float32 constant; a scalar for one number without a shape. */
  constant(suffix: string, values: readonly number[], shape: Shape = []): string {
    return this.#constant(suffix, shape, this.onnx.TensorProto.DataType.FLOAT, floatBytes(values));
  }

  /** A constant of whole numbers, such as a shape. */
  whole(suffix: string, values: readonly number[]): string {
    const view = new DataView(new ArrayBuffer(values.length * 8));
    values.forEach((v, i) => {
      view.setBigInt64(8 * i, BigInt(v), true);
    });
    return this.#constant(suffix, [values.length], this.onnx.TensorProto.DataType.INT64, new Uint8Array(view.buffer));
  }

  #constant(suffix: string, dims: Shape, dataType: number, rawData: Uint8Array): string {
    const name = `${this.output}.${suffix}`;
    this.constants.push({ name, dims: [...dims], dataType, rawData });
    return name;
  }

  /** Casts indices to whole numbers. */
  indices(): string {
    return this.op('Cast', [this.input], 'indices', [this.int('to', this.onnx.TensorProto.DataType.INT64)]);
  }

  /** Refuses a model for the shape of its input. */
  refuse(takes: string): never {
    fail(
      'exportOnnx',
      `layer '${this.path.replace(/\.$/, '')}' takes ${takes}, not those of ${show(this.shape)}`,
      'pass a shape that the model accepts',
      { shapes: [this.modelShape] },
    );
  }
}

/** Numbers as little-endian float32, independent of the machine. */
export function floatBytes(values: ArrayLike<number>): Uint8Array {
  const view = new DataView(new ArrayBuffer(values.length * 4));
  for (let i = 0; i < values.length; i++) view.setFloat32(4 * i, values[i], true);
  return new Uint8Array(view.buffer);
}

/** Writes a layer, and returns the shape of its result. */
type Write = (w: LayerWriter) => Shape;

/** A layer that is one operator on values of any shape. */
const operator =
  (opType: string): Write =>
  (w) => {
    w.op(opType, [w.input], '');
    return w.shape;
  };

const linear: Write = (w) => {
  const { shape, layer, path, input } = w;
  const [inFeatures, outFeatures] = [w.number('inFeatures'), w.number('outFeatures')];
  if (shape.at(-1) !== inFeatures) w.refuse(`${inFeatures} features`);
  const bias = layer.bias === true;
  if (shape.length === 2) {
    w.op('Gemm', [input, `${path}weight`, ...(bias ? [`${path}bias`] : [])], '', [w.int('transB', 1)]);
  } else {
    // Gemm accepts matrices only.
    const transposed = w.op('Transpose', [`${path}weight`], 'weight', [w.ints('perm', [1, 0])]);
    const product = w.op('MatMul', [input, transposed], bias ? 'product' : '');
    if (bias) w.op('Add', [product, `${path}bias`], '');
  }
  return [...shape.slice(0, -1), outFeatures];
};

/** The last dimensions of a value, which a layer normalizes. */
function normalized(w: LayerWriter): number[] {
  const sizes = w.layer.normalizedShape as number[];
  const from = w.shape.length - sizes.length;
  if (from < 1 || sizes.some((d, i) => w.shape[from + i] !== d)) w.refuse(`inputs that end in ${show(sizes)}`);
  return sizes;
}

const layerNorm: Write = (w) => {
  const sizes = normalized(w);
  const { layer, path } = w;
  const weight = layer.elementwiseAffine
    ? `${path}weight`
    : w.constant('ones', new Array<number>(sizeOf(sizes)).fill(1), sizes);
  const inputs = [w.input, weight, ...(layer.bias === true ? [`${path}bias`] : [])];
  w.op('LayerNormalization', inputs, '', [w.int('axis', -sizes.length), w.float('epsilon', w.number('eps'))]);
  return w.shape;
};

const rmsNorm: Write = (w) => {
  const sizes = normalized(w);
  const affine = w.layer.elementwiseAffine === true;
  const square = w.op('Mul', [w.input, w.input], 'square');
  const axes = w.ints(
    'axes',
    sizes.map((_, i) => i - sizes.length),
  );
  const mean = w.op('ReduceMean', [square], 'mean', [axes, w.int('keepdims', 1)]);
  const root = w.op('Sqrt', [w.op('Add', [mean, w.constant('eps', [w.number('eps')])], 'sum')], 'root');
  const y = w.op('Div', [w.input, root], affine ? 'normalized' : '');
  if (affine) w.op('Mul', [y, `${w.path}weight`], '');
  return w.shape;
};

const groupNorm: Write = (w) => {
  const [groups, channels] = [w.number('numGroups'), w.number('numChannels')];
  const { shape, path } = w;
  if (shape[1] !== channels) w.refuse(`${channels} channels`);
  const affine = w.layer.affine === true;
  const parts = w.op('Reshape', [w.input, w.whole('groups', [0, groups, -1])], 'parts');
  const one = (name: string, v: number) => w.constant(name, new Array<number>(groups).fill(v), [groups]);
  const inner = [parts, one('ones', 1), one('zeros', 0)];
  const y = w.op('InstanceNormalization', inner, 'normalized', [w.float('epsilon', w.number('eps'))]);
  const whole = w.op('Reshape', [y, w.whole('shape', [-1, ...shape.slice(1)])], affine ? 'whole' : '');
  if (affine) {
    const each = w.whole('channels', [channels, ...shape.slice(2).map(() => 1)]);
    const scaled = w.op('Mul', [whole, w.op('Reshape', [`${path}weight`, each], 'weight')], 'scaled');
    w.op('Add', [scaled, w.op('Reshape', [`${path}bias`, each], 'bias')], '');
  }
  return shape;
};

const batchNorm =
  (...ranks: number[]): Write =>
  (w) => {
    const { layer, path, shape } = w;
    const features = w.number('numFeatures');
    if (shape[1] !== features || !ranks.includes(shape.length)) w.refuse(`${features} channels`);
    if (layer.trackRunningStats !== true)
      fail(
        'exportOnnx',
        `layer '${path.replace(/\.$/, '')}' has no running mean and variance`,
        'train it with trackRunningStats: true',
      );
    const one = (name: string, v: number) => w.constant(name, new Array<number>(features).fill(v), [features]);
    const factors = layer.affine === true ? [`${path}weight`, `${path}bias`] : [one('ones', 1), one('zeros', 0)];
    const inputs = [w.input, ...factors, `${path}running_mean`, `${path}running_var`];
    w.op('BatchNormalization', inputs, '', [w.float('epsilon', w.number('eps'))]);
    return shape;
  };

const embedding: Write = (w) => {
  w.op('Gather', [`${w.path}weight`, w.indices()], '');
  return [...w.shape, w.number('embeddingDim')];
};

const flatten: Write = (w) => {
  const { shape } = w;
  const n = shape.length;
  const [from, to] = [w.number('startDim'), w.number('endDim')].map((d) => (d < 0 ? d + n : d));
  if (!(from >= 0 && from <= to && to < n)) w.refuse(`dimensions ${w.number('startDim')} to ${w.number('endDim')}`);
  const joined = [...shape.slice(0, from), sizeOf(shape.slice(from, to + 1)), ...shape.slice(to + 1)];
  w.op('Reshape', [w.input, w.whole('shape', [-1, ...joined.slice(1)])], '');
  return joined;
};

/** x / 2 (1 + erf(x / √2)), or with tanh(√(2/π) (x + 0.044715 x³)) for the error function. */
const gelu: Write = (w) => {
  const x = w.input;
  const times = (value: string, factor: number, suffix: string) =>
    w.op('Mul', [value, w.constant(`${suffix}.factor`, [factor])], suffix);
  let bend: string;
  if (w.layer.approximate === 'tanh') {
    const cube = times(w.op('Mul', [w.op('Mul', [x, x], 'square'), x], 'cube'), 0.044715, 'part');
    bend = w.op('Tanh', [times(w.op('Add', [x, cube], 'inner'), Math.sqrt(2 / Math.PI), 'scaled')], 'bend');
  } else bend = w.op('Erf', [times(x, Math.SQRT1_2, 'scaled')], 'bend');
  const share = times(w.op('Add', [bend, w.constant('one', [1])], 'shifted'), 0.5, 'share');
  w.op('Mul', [x, share], '');
  return w.shape;
};

/** x times a function of x. */
const gated =
  (...functions: string[]): Write =>
  (w) => {
    const gate = functions.reduce((value, opType) => w.op(opType, [value], opType.toLowerCase()), w.input);
    w.op('Mul', [w.input, gate], '');
    return w.shape;
  };

/** An operator with one number. */
const withNumber =
  (opType: string, field: string): Write =>
  (w) => {
    w.op(opType, [w.input], '', [w.float('alpha', w.number(field))]);
    return w.shape;
  };

const relu6: Write = (w) => {
  w.op('Clip', [w.input, w.constant('min', [0]), w.constant('max', [6])], '');
  return w.shape;
};

const softplus: Write = (w) => {
  const [beta, threshold] = [w.number('beta'), w.number('threshold')];
  if (beta === 1 && threshold === 20) return operator('Softplus')(w);
  const factor = w.constant('beta', [beta]);
  const scaled = w.op('Mul', [w.input, factor], 'scaled');
  const soft = w.op('Div', [w.op('Softplus', [scaled], 'soft'), factor], 'divided');
  const above = w.op('Greater', [scaled, w.constant('threshold', [threshold])], 'above');
  w.op('Where', [above, w.input, soft], '');
  return w.shape;
};

const alongDim =
  (opType: string): Write =>
  (w) => {
    const dim = w.number('dim');
    if (dim >= w.shape.length || dim < -w.shape.length) w.refuse(`inputs with a dimension ${dim}`);
    w.op(opType, [w.input], '', [w.int('axis', dim)]);
    return w.shape;
  };

/** The layers that can be exported, by their type. */
export const writers: Readonly<Record<string, Write>> = {
  Linear: linear,
  ReLU: operator('Relu'),
  Sigmoid: operator('Sigmoid'),
  Tanh: operator('Tanh'),
  GELU: gelu,
  SiLU: gated('Sigmoid'),
  Mish: gated('Softplus', 'Tanh'),
  LeakyReLU: withNumber('LeakyRelu', 'slope'),
  ELU: withNumber('Elu', 'alpha'),
  ReLU6: relu6,
  Softplus: softplus,
  Softmax: alongDim('Softmax'),
  LogSoftmax: alongDim('LogSoftmax'),
  // In evaluation mode nothing is dropped.
  Dropout: operator('Identity'),
  Identity: operator('Identity'),
  Flatten: flatten,
  Embedding: embedding,
  LayerNorm: layerNorm,
  RMSNorm: rmsNorm,
  GroupNorm: groupNorm,
  BatchNorm1d: batchNorm(2, 3),
  BatchNorm2d: batchNorm(4),
};
