import { mkdtempSync, readdirSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import proto from 'onnx-proto';
import { describe, expect, it } from 'vitest';
import { nn } from '../src/index.js';
import { exportOnnx } from '../src/io/index.js';
import { errorOf } from './helpers.js';

// What stands in a file of exportOnnx. That onnxruntime computes the same with it is in onnx.test.ts.

const { onnx } = proto;
const folder = () => mkdtempSync(join(tmpdir(), 'tapegrad-'));

async function exported(model: nn.TensorModule, shape: readonly number[]) {
  const path = join(folder(), 'm.onnx');
  await exportOnnx(model, shape, path);
  const decoded = onnx.ModelProto.decode(readFileSync(path));
  return onnx.ModelProto.toObject(decoded, { longs: Number, enums: String, arrays: true });
}

const dims = (value: { type: { tensorType: { shape: { dim: { dimParam?: string; dimValue?: number }[] } } } }) =>
  value.type.tensorType.shape.dim.map((d) => d.dimParam ?? d.dimValue);

describe('an ONNX file', () => {
  const model = () => new nn.Sequential(new nn.Linear(3, 4), new nn.ReLU(), new nn.Linear(4, 2, { bias: false }));

  it('has its versions, and one input and output, whose first dimension is dynamic', async () => {
    const { irVersion, producerName, opsetImport, graph } = await exported(model(), [5, 3]);
    expect([irVersion, producerName]).toEqual([8, 'tapegrad']);
    expect(opsetImport).toEqual([expect.objectContaining({ version: 17 })]);
    expect(graph.name).toBe('tapegrad');
    expect(graph.input.map((v: { name: string }) => v.name)).toEqual(['input']);
    expect(graph.output.map((v: { name: string }) => v.name)).toEqual(['output']);
    expect(graph.input[0].type.tensorType.elemType).toBe(1);
    expect([dims(graph.input[0]), dims(graph.output[0])]).toEqual([
      ['batch', 3],
      ['batch', 2],
    ]);
  });
  it('has one operator for each layer of a matrix, in a chain', async () => {
    const { graph } = await exported(model(), [5, 3]);
    expect(graph.node.map((n: Record<string, unknown>) => [n.opType, n.name, n.input, n.output])).toEqual([
      ['Gemm', 'layer_0', ['input', '0.weight', '0.bias'], ['layer_0']],
      ['Relu', 'layer_1', ['layer_0'], ['layer_1']],
      ['Gemm', 'output', ['layer_1', '2.weight'], ['output']],
    ]);
    expect(graph.node[0].attribute).toEqual([expect.objectContaining({ name: 'transB', type: 'INT', i: 1 })]);
  });
  it('multiplies with transposed weights where there are more dimensions', async () => {
    const { graph } = await exported(model(), [5, 7, 3]);
    expect(graph.node.map((n: Record<string, unknown>) => [n.opType, n.name, n.input, n.output])).toEqual([
      ['Transpose', 'layer_0.weight', ['0.weight'], ['layer_0.weight']],
      ['MatMul', 'layer_0.product', ['input', 'layer_0.weight'], ['layer_0.product']],
      ['Add', 'layer_0', ['layer_0.product', '0.bias'], ['layer_0']],
      ['Relu', 'layer_1', ['layer_0'], ['layer_1']],
      ['Transpose', 'output.weight', ['2.weight'], ['output.weight']],
      ['MatMul', 'output', ['layer_1', 'output.weight'], ['output']],
    ]);
    expect(graph.node[0].attribute).toEqual([expect.objectContaining({ name: 'perm', type: 'INTS', ints: [1, 0] })]);
    expect(dims(graph.output[0])).toEqual(['batch', 7, 2]);
  });
  it('has the weights as little-endian float32', async () => {
    const layer = new nn.Linear(3, 2);
    const { graph } = await exported(layer, [1, 3]);
    expect(graph.initializer.map((t: Record<string, unknown>) => [t.name, t.dims, t.dataType])).toEqual([
      ['weight', [2, 3], 1],
      ['bias', [2], 1],
    ]);
    const raw = Uint8Array.from(graph.initializer[0].rawData as Uint8Array);
    const view = new DataView(raw.buffer);
    const values = Array.from({ length: raw.length / 4 }, (_, i) => view.getFloat32(4 * i, true));
    expect(values).toEqual([...layer.weight.dataSync()]);
  });
  it('of no layers gives its input back', async () => {
    const { graph } = await exported(new nn.Sequential(new nn.Sequential()), [1, 3]);
    expect(graph.node.map((n: Record<string, unknown>) => [n.opType, n.input, n.output])).toEqual([
      ['Identity', ['input'], ['output']],
    ]);
    expect(dims(graph.output[0])).toEqual(['batch', 3]);
  });
});

describe('exportOnnx refuses', () => {
  it.each<[string, unknown]>([
    ['one dimension', [3]],
    ['no dimensions', []],
    ['a dimension of 0', [1, 0]],
    ['a negative dimension', [-1, 3]],
    ['half a dimension', [1.5, 3]],
    ['text', '13'],
    ['nothing', undefined],
  ])('%s for a shape', async (_, shape) => {
    const error = await errorOf(() => exportOnnx(new nn.Linear(3, 2), shape as number[], join(folder(), 'm.onnx')));
    expect(error.message).toContain("[exportOnnx] the input's shape is ");
    expect(error.message).toContain('pass [batch, .., features], such as [1, 784]');
  });
  it('features that a layer does not take, and names the layer', async () => {
    const dir = folder();
    const refused = (model: nn.TensorModule) => errorOf(() => exportOnnx(model, [1, 3], join(dir, 'm.onnx')));
    const inner = new nn.Sequential(new nn.Linear(3, 4), new nn.Sequential(new nn.Linear(5, 2)));
    const error = await refused(inner);
    expect(error.message).toContain("layer '1.0' takes 5 features, not those of [1, 4]");
    expect(error.shapes).toEqual([[1, 3]]);
    expect((await refused(new nn.Linear(4, 1))).message).toContain("layer '' takes 4 features, not those of [1, 3]");
    expect(readdirSync(dir)).toEqual([]);
  });
});
