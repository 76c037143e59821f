import type { onnx as Onnx } from 'onnx-proto';
import { describe, fail, show } from '../errors.js';
import { Module, type StateDict } from '../nn/index.js';
import { load } from '../optional/onnx.js';
import { type Described, describeModule, flatten } from './architecture.js';
import { writeAtomically } from './disk.js';

// ONNX (https://onnx.ai/onnx/repo-docs/IR.html): a protobuf of a graph whose nodes are operators. Weights are raw
// little-endian float32.

/** The operator set version; see https://onnx.ai/onnx/operators. */
const OPSET = 17;
/** The first version of the file format that allows this operator set. */
const IR_VERSION = 8;

type Library = typeof Onnx;

async function library(): Promise<Library> {
  const { default: all, onnx } = (await load((cause) =>
    fail('exportOnnx', 'the package onnx-proto does not load', 'run npm install onnx-proto', { cause }),
  )) as { default?: { onnx: Library }; onnx?: Library };
  return (onnx ?? all?.onnx)!;
}

/** The operators of one layer, from the value called `input` to the one called `output`. */
function nodes(
  onnx: Library,
  layer: Described,
  path: string,
  rank: number,
  input: string,
  output: string,
): Onnx.INodeProto[] {
  if (layer.type !== 'Linear')
    return [{ name: output, opType: operators[layer.type], input: [input], output: [output] }];
  const bias = layer.bias === true;
  const transB = { name: 'transB', type: onnx.AttributeProto.AttributeType.INT, i: 1 };
  if (rank === 2) {
    const inputs = [input, `${path}weight`, ...(bias ? [`${path}bias`] : [])];
    return [{ name: output, opType: 'Gemm', input: inputs, output: [output], attribute: [transB] }];
  }
  // Gemm accepts matrices only.
  const perm = { name: 'perm', type: onnx.AttributeProto.AttributeType.INTS, ints: [1, 0] };
  const [transposed, product] = [`${output}.weight`, bias ? `${output}.product` : output];
  return [
    { name: transposed, opType: 'Transpose', input: [`${path}weight`], output: [transposed], attribute: [perm] },
    { name: product, opType: 'MatMul', input: [input, transposed], output: [product] },
    ...(bias ? [{ name: output, opType: 'Add', input: [product, `${path}bias`], output: [output] }] : []),
  ];
}

/** The ONNX operators of layers without parameters. */
const operators: Readonly<Record<string, string>> = { ReLU: 'Relu', Sigmoid: 'Sigmoid', Tanh: 'Tanh' };

/** The values of a tensor as little-endian bytes, independent of the machine. */
async function rawData(state: StateDict, name: string): Promise<Uint8Array> {
  const values = await state[name].data();
  const view = new DataView(new ArrayBuffer(values.length * 4));
  values.forEach((v, i) => {
    view.setFloat32(4 * i, v, true);
  });
  return new Uint8Array(view.buffer);
}

/**
 * Exports a model as [ONNX](https://onnx.ai/onnx/intro/) (operator set 17, float32), with one input 'input' and one output
 * 'output'. The first dimension is dynamic, whatever its size in `inputShape`. Needs the optional package onnx-proto.
 *
 * @param model an nn.Sequential of the layers of nn, or one such layer
 * @param inputShape the shape of an input, [batch, .., features]
 * @param path the file name, usually ending in .onnx
 * @throws TapegradError for modules of other classes, shapes that the model does not accept and a missing package, before
 *   anything is written; and if the path cannot be written
 * @example
 * ```ts
 * import { nn } from 'tapegrad';
 * import { exportOnnx } from 'tapegrad/io';
 *
 * await exportOnnx(new nn.Sequential(new nn.Linear(4, 2), new nn.ReLU()), [1, 4], 'model.onnx');
 * ```
 */
export async function exportOnnx(model: Module, inputShape: readonly number[], path: string): Promise<void> {
  if (!(model instanceof Module)) fail('exportOnnx', `the model is ${describe(model)}`, 'pass a module');
  const layers = flatten(describeModule('exportOnnx', model));
  if (!Array.isArray(inputShape) || inputShape.length < 2 || !inputShape.every((d) => Number.isInteger(d) && d > 0))
    fail('exportOnnx', `the input's shape is ${describe(inputShape)}`, 'pass [batch, .., features], such as [1, 784]');
  const outputShape = layers.reduce<readonly number[]>((shape, [layer, at]) => {
    if (layer.type !== 'Linear') return shape;
    if (shape.at(-1) !== layer.inFeatures)
      fail(
        'exportOnnx',
        `layer '${at.replace(/\.$/, '')}' takes ${layer.inFeatures} features, not those of ${show(shape)}`,
        'pass a shape that the model accepts',
        {
          shapes: [inputShape],
        },
      );
    return [...shape.slice(0, -1), layer.outFeatures as number];
  }, inputShape);
  const onnx = await library();
  const value = (name: string, shape: readonly number[]): Onnx.IValueInfoProto => ({
    name,
    type: {
      tensorType: {
        elemType: onnx.TensorProto.DataType.FLOAT,
        shape: { dim: shape.map((d, i) => (i === 0 ? { dimParam: 'batch' } : { dimValue: d })) },
      },
    },
  });
  const state = model.stateDict();
  const initializer = await Promise.all(
    Object.keys(state).map(async (name) => ({
      name,
      dims: [...state[name].shape],
      dataType: onnx.TensorProto.DataType.FLOAT,
      rawData: await rawData(state, name),
    })),
  );
  const names = ['input', ...layers.slice(1).map((_, i) => `layer_${i}`), 'output'];
  const graph: Onnx.IGraphProto = {
    name: 'tapegrad',
    input: [value('input', inputShape)],
    output: [value('output', outputShape)],
    initializer,
    node:
      layers.length === 0
        ? [{ name: 'output', opType: 'Identity', input: ['input'], output: ['output'] }]
        : layers.flatMap(([layer, at], i) => nodes(onnx, layer, at, inputShape.length, names[i], names[i + 1])),
  };
  const proto: Onnx.IModelProto = {
    irVersion: IR_VERSION,
    producerName: 'tapegrad',
    opsetImport: [{ domain: '', version: OPSET }],
    graph,
  };
  const problem = onnx.ModelProto.verify(proto);
  if (problem !== null) fail('exportOnnx', `the model does not fit the format: ${problem}`, 'report this as a bug');
  await writeAtomically('exportOnnx', path, onnx.ModelProto.encode(proto).finish());
}
