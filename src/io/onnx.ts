import type { onnx as Onnx } from 'onnx-proto';
import { describe, fail, show } from '../errors.js';
import { Module, type StateDict } from '../nn/index.js';
import { load } from '../optional/onnx.js';
import { type Described, describeModule, flatten } from './architecture.js';
import { writeAtomically } from './files.js';

// ONNX (https://onnx.ai/onnx/repo-docs/IR.html): a protobuf of a graph whose nodes are operators. Weights are raw
// little-endian float32.

/** https://onnx.ai/onnx/operators: the version whose operators are used. */
const OPSET = 17;
/** The first version of the file format that allows that opset. */
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
  // Gemm takes matrices only.
  const perm = { name: 'perm', type: onnx.AttributeProto.AttributeType.INTS, ints: [1, 0] };
  const [turned, times] = [`${output}.weight`, bias ? `${output}.product` : output];
  return [
    { name: turned, opType: 'Transpose', input: [`${path}weight`], output: [turned], attribute: [perm] },
    { name: times, opType: 'MatMul', input: [input, turned], output: [times] },
    ...(bias ? [{ name: output, opType: 'Add', input: [times, `${path}bias`], output: [output] }] : []),
  ];
}

/** The layers that are one operator by another name. */
const operators: Readonly<Record<string, string>> = { ReLU: 'Relu', Sigmoid: 'Sigmoid', Tanh: 'Tanh' };

/** Bytes of a tensor's numbers, little-endian whatever the machine is. */
async function rawData(state: StateDict, name: string): Promise<Uint8Array> {
  const values = await state[name].data();
  const view = new DataView(new ArrayBuffer(values.length * 4));
  values.forEach((v, i) => {
    view.setFloat32(4 * i, v, true);
  });
  return new Uint8Array(view.buffer);
}

/**
 * Writes a model as ONNX, opset 17, float32, with one input 'input' and one output 'output'. The first dimension is
 * dynamic, whatever `inputShape` says there. Needs the package onnx-proto.
 *
 * @param model an nn.Sequential of the layers of nn, or one such layer
 * @param inputShape the shape of an input, [batch, .., features]
 * @throws TapegradError for modules of other classes and shapes that do not go through the model, before anything is
 *   written, and if the path cannot be written
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
        'pass the shape that the model takes',
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
