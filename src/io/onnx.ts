import type { onnx as Onnx } from 'onnx-proto';
import { describe, fail } from '../errors.js';
import { Module } from '../nn/index.js';
import { load } from '../optional/onnx.js';
import { describeModule, flatten } from './architecture.js';
import { writeAtomically } from './disk.js';
import { floatBytes, LayerWriter, writers } from './onnx-layers.js';

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

/**
 * Exports a model as [ONNX](https://onnx.ai/onnx/intro/) (operator set 17, float32), with one input 'input' and one output
 * 'output'. The first dimension is dynamic, whatever its size in `inputShape`. Layers are exported in evaluation mode; indices of
 * an embedding are float32, too. Needs the optional package onnx-proto.
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
  const onnx = await library();
  const names = ['input', ...layers.slice(1).map((_, i) => `layer_${i}`), 'output'];
  let shape: readonly number[] = inputShape;
  const written = layers.map(([layer, at], i) => {
    const writer = new LayerWriter(onnx, layer, at, shape, names[i], names[i + 1], inputShape);
    shape = writers[layer.type](writer);
    return writer;
  });
  const value = (name: string, shape: readonly number[]): Onnx.IValueInfoProto => ({
    name,
    type: {
      tensorType: {
        elemType: onnx.TensorProto.DataType.FLOAT,
        shape: { dim: shape.map((d, i) => (i === 0 ? { dimParam: 'batch' } : { dimValue: d })) },
      },
    },
  });
  const node =
    layers.length === 0
      ? [{ name: 'output', opType: 'Identity', input: ['input'], output: ['output'] }]
      : written.flatMap((w) => w.nodes);
  const read = new Set(node.flatMap(({ input }) => input ?? []));
  const state = Object.entries(model.stateDict()).filter(([name]) => read.has(name));
  const weights = state.map(async ([name, t]) => ({
    name,
    dims: [...t.shape],
    dataType: onnx.TensorProto.DataType.FLOAT,
    rawData: floatBytes(await t.data()),
  }));
  const graph: Onnx.IGraphProto = {
    name: 'tapegrad',
    input: [value('input', inputShape)],
    output: [value('output', shape)],
    initializer: [...(await Promise.all(weights)), ...written.flatMap((w) => w.constants)],
    node,
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
