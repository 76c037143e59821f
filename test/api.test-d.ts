import {
  type DeviceInfo,
  data,
  fit,
  type History,
  type KeepdimOptions,
  metrics,
  nn,
  noGrad,
  optim,
  type Tensor,
  tensor,
  useDevice,
  zeros,
} from 'tapegrad';
import { fromSafetensors, load, type StateDict, save, toSafetensors } from 'tapegrad/io';
import { expectTypeOf, test } from 'vitest';

test('the promised names have the promised types', () => {
  expectTypeOf(tensor([[1, 2]], { shape: [2, 1], requiresGrad: true, device: 'cpu' })).toEqualTypeOf<Tensor>();
  expectTypeOf<Tensor['shape']>().toEqualTypeOf<readonly number[]>();
  expectTypeOf<Tensor['grad']>().toEqualTypeOf<Tensor | null>();
  expectTypeOf<Tensor['data']>().returns.toEqualTypeOf<Promise<Float32Array>>();
  expectTypeOf<Tensor['item']>().returns.toEqualTypeOf<Promise<number>>();
  expectTypeOf<Tensor['add']>().parameters.toEqualTypeOf<[other: Tensor | number]>();
  expectTypeOf<Tensor['sum']>().parameters.toEqualTypeOf<
    [dim?: number | readonly number[], keepdim?: boolean | KeepdimOptions]
  >();
  expectTypeOf(noGrad(() => 1)).toEqualTypeOf<number>();
  expectTypeOf(noGrad(async () => 1)).toEqualTypeOf<Promise<number>>();
  expectTypeOf(useDevice('auto')).toEqualTypeOf<Promise<DeviceInfo>>();
  expectTypeOf(metrics.accuracy).returns.toEqualTypeOf<Promise<number>>();
  expectTypeOf(metrics.confusionMatrix).returns.toEqualTypeOf<Promise<number[][]>>();
  expectTypeOf(fit).returns.toEqualTypeOf<Promise<History>>();
  expectTypeOf(load).returns.toEqualTypeOf<Promise<StateDict>>();
  expectTypeOf(toSafetensors).returns.toEqualTypeOf<Promise<Uint8Array>>();
  expectTypeOf(fromSafetensors).returns.toEqualTypeOf<{ tensors: StateDict; metadata: Record<string, string> }>();
  expectTypeOf(save).parameter(1).toEqualTypeOf<string>();
});

test('wrong uses do not compile', () => {
  // @ts-expect-error a text is no operand
  zeros([1]).add('1');
  // @ts-expect-error argmax takes one dimension
  zeros([1]).argmax([0, 1]);
  // @ts-expect-error lr is required
  new optim.SGD([zeros([1])], {});
  // @ts-expect-error an unknown number of a group
  new optim.SGD([{ params: [zeros([1])], lr: 1, momentums: 1 }]);
  // @ts-expect-error unknown option
  new nn.Linear(1, 1, { biass: true });
  // @ts-expect-error an unknown reduction
  new nn.MSELoss({ reduction: 'avg' });
  // @ts-expect-error batchSize is required
  new data.DataLoader(new data.TensorDataset(), {});
  // @ts-expect-error shape cannot be assigned
  zeros([1]).shape = [2];
});

test('metrics and batches are typed by what was passed', async () => {
  const model = new nn.Linear(1, 1);
  const loader = new data.DataLoader(new data.TensorDataset(zeros([1, 1]), zeros([1, 1])), { batchSize: 1 });
  for (const [x, y] of loader) expectTypeOf([x, y]).toEqualTypeOf<Tensor[]>();
  // @ts-expect-error there are two tensors in a batch
  for (const [, , third] of loader) expectTypeOf(third);
  // @ts-expect-error nor three where it is awaited
  for await (const [, , third] of loader) expectTypeOf(third);
  const history = await fit(model, {
    train: loader,
    validation: loader,
    loss: new nn.MSELoss(),
    optimizer: new optim.SGD(model.parameters(), { lr: 0.1 }),
    epochs: 1,
    metrics: { mae: (output, target) => output.sub(target).abs().mean(), r2: metrics.r2Score },
    onEpoch: async ({ validation }) => expectTypeOf(validation!.mae).toEqualTypeOf<number>(),
    onBatch: ({ loss }) => expectTypeOf(loss).toEqualTypeOf<number>(),
  });
  expectTypeOf(history.epochs[0].validation!.mae).toEqualTypeOf<number>();
  expectTypeOf(history.epochs[0].validation!.loss).toEqualTypeOf<number>();
  // @ts-expect-error no such metric
  history.epochs[0].validation!.accuracy;
});

test('a batch is typed by the samples, or by collate', async () => {
  interface Row {
    image: Float32Array;
    label: number;
    seen: boolean;
    readonly name: string;
    pair: [Tensor, number];
  }
  class Rows implements data.Dataset<Row> {
    readonly length = 1;
    async get(index: number): Promise<Row> {
      return { image: new Float32Array(1), label: index, seen: true, name: 'a', pair: [zeros([1]), 1] };
    }
  }
  type RowBatch = { image: Tensor; label: Tensor; seen: Tensor; name: string[]; pair: [Tensor, Tensor] };
  const rows = new Rows();
  for await (const batch of new data.DataLoader(rows, { batchSize: 1, sampler: new data.RandomSampler(rows) }))
    expectTypeOf(batch).toEqualTypeOf<RowBatch>();
  const half = data.randomSplit(rows, [1]);
  expectTypeOf(half).toEqualTypeOf<data.Subset<Row>[]>();
  for await (const { image } of new data.DataLoader(half[0], { batchSampler: [[0]] }))
    expectTypeOf(image).toEqualTypeOf<Tensor>();
  const collate = (samples: Row[]) => [zeros([samples.length]), zeros([1])] as [Tensor, Tensor];
  const pairs = new data.DataLoader(rows, { batchSize: 1, collate });
  expectTypeOf(pairs).toEqualTypeOf<data.DataLoader<Row, [Tensor, Tensor]>>();
  const names = new data.DataLoader(rows, { batchSize: 1, collate: (samples) => samples.map((row) => row.name) });
  for await (const batch of names) expectTypeOf(batch).toEqualTypeOf<string[]>();
  const promised = new data.DataLoader(rows, { batchSize: 1, collate: async () => 1 });
  for await (const batch of promised) expectTypeOf(batch).toEqualTypeOf<number>();
  const some = new data.Subset(new data.TensorDataset(zeros([1]), zeros([1])), [0]);
  for (const batch of new data.DataLoader(some, { batchSize: 1 }))
    expectTypeOf(batch).toEqualTypeOf<[Tensor, Tensor]>();
  expectTypeOf(data.defaultCollate([1, 2])).toEqualTypeOf<Tensor>();
  expectTypeOf(data.defaultCollate(['a', 'b'])).toEqualTypeOf<string[]>();
  const any: data.DataLoader = new data.DataLoader(new data.TensorDataset(zeros([1])), { batchSize: 1 });
  for (const batch of any) expectTypeOf(batch).toEqualTypeOf<Tensor[]>();
  type Train = Parameters<typeof fit>[1]['train'];
  expectTypeOf(pairs).toExtend<Train>();
  expectTypeOf(new data.DataLoader(some, { batchSize: 1 })).toExtend<Train>();
  expectTypeOf(names).not.toExtend<Train>();
  // @ts-expect-error neither a batch size nor a batch sampler
  new data.DataLoader(rows, { sampler: [0] });
  // @ts-expect-error collate of other samples
  new data.DataLoader(rows, { batchSize: 1, collate: (samples: string[]) => samples });
  // @ts-expect-error numSamples is required
  new data.WeightedRandomSampler([1]);
});
