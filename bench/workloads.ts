// The workloads of every comparison, for tapegrad; bench/peers has the same for the others.
import { cat, nn, noGrad, optim, rand, randn, type Tensor, tensor } from 'tapegrad';

export interface Workload {
  readonly name: string;
  /** What one run accomplishes: so many of the unit. */
  readonly amount: number;
  readonly unit: string;
  /** Floating-point operations of one run, where that is the measure. */
  readonly flops?: number;
  /** Prepares the data. */
  make(): Runner;
}

export interface Runner {
  /** Runs the workload once. */
  run(): Tensor;
  /** What the last run has changed, beside its result. */
  readonly state: readonly Tensor[];
}

const mlp = (...sizes: number[]) =>
  new nn.Sequential(
    ...sizes.slice(1).flatMap((out, i) => [...(i > 0 ? [new nn.ReLU()] : []), new nn.Linear(sizes[i], out)]),
  );
const labels = (n: number, classes: number) => tensor(Array.from({ length: n }, (_, i) => i % classes));

function training(
  model: nn.TensorModule,
  x: Tensor,
  y: Tensor,
  loss: nn.MSELoss | nn.CrossEntropyLoss,
  lr: number,
): Runner {
  const optimizer = new optim.SGD(model.parameters(), { lr });
  const run = () => {
    const value = loss.forward(model.forward(x), y);
    value.backward();
    optimizer.step();
    optimizer.zeroGrad();
    return value;
  };
  return { run, state: model.parameters() };
}

export function product(m: number, k: number, n: number): Workload {
  const flops = 2 * m * k * n;
  return {
    name: m === k && k === n ? `W1 ${n}` : `W1 ${m}x${k}x${n}`,
    amount: flops / 1e9,
    unit: 'GFLOP/s',
    flops,
    make() {
      const [a, b] = [randn([m, k]), randn([k, n])];
      return { run: () => a.matmul(b), state: [] };
    },
  };
}

/** A linear layer without a bias: the weight lies transposed. */
export function layer(batch: number, inputs: number, outputs: number): Workload {
  const flops = 2 * batch * inputs * outputs;
  return {
    name: `[${batch}, ${inputs}] x [${outputs}, ${inputs}]t`,
    amount: flops / 1e9,
    unit: 'GFLOP/s',
    flops,
    make() {
      const [x, w] = [randn([batch, inputs]), randn([outputs, inputs])];
      return { run: () => x.matmul(w.t()), state: [] };
    },
  };
}

/** Training steps of a classifier of digits. */
export const steps = (batch: number): Workload => ({
  name: `W3 ${batch}`,
  amount: batch,
  unit: 'samples/s',
  make: () => training(mlp(784, 256, 128, 10), randn([batch, 784]), labels(batch, 10), new nn.CrossEntropyLoss(), 0.1),
});

/** Training steps count 6 · parameters · batch operations. */
const stepFlops = (batch: number, ...sizes: number[]) =>
  6 * batch * sizes.slice(1).reduce((sum, out, i) => sum + sizes[i] * out, 0);

/** An element-wise operation; `dispose` hands its result back at once, as a language that counts references does. */
function elementwise(name: string, shape: number[], run: (x: Tensor) => Tensor): Workload[] {
  const make = (dispose: boolean) => () => {
    const x = randn(shape);
    const once = () =>
      noGrad(() => {
        const y = run(x);
        if (dispose) y.dispose();
        return y;
      });
    return { run: once, state: [] };
  };
  const amount = shape.reduce((p, d) => p * d, 1) / 1e6;
  return [
    { name: `W5 ${name}`, amount, unit: 'Melem/s', make: make(false) },
    { name: `W5 ${name}, disposed`, amount, unit: 'Melem/s', make: make(true) },
  ];
}

const million = [1_000_000];

export const workloads: readonly Workload[] = [
  ...[64, 128, 256, 512, 1024].map((n) => product(n, n, n)),
  product(64, 784, 256),
  product(1, 784, 256),
  {
    name: 'W2',
    amount: 1,
    unit: 'steps/s',
    make: () => training(mlp(10, 5, 1), randn([100, 10]), randn([100, 1]), new nn.MSELoss(), 0.01),
  },
  ...[64, 512].map(steps),
  {
    name: 'W3b',
    amount: stepFlops(256, 1024, 2048, 2048, 1024) / 1e9,
    unit: 'GFLOP/s',
    flops: stepFlops(256, 1024, 2048, 2048, 1024),
    make: () => training(mlp(1024, 2048, 2048, 1024), randn([256, 1024]), randn([256, 1024]), new nn.MSELoss(), 0.01),
  },
  ...[1, 256].map((batch) => ({
    name: `W4 ${batch}`,
    amount: batch,
    unit: 'samples/s',
    make() {
      const model = mlp(784, 256, 128, 10);
      const x = randn([batch, 784]);
      return { run: () => noGrad(() => model.forward(x)), state: [] };
    },
  })),
  ...elementwise('add', million, (x) => x.add(x)),
  ...elementwise('relu', million, (x) => x.relu()),
  ...elementwise('exp', million, (x) => x.exp()),
  ...elementwise('tanh', million, (x) => x.tanh()),
  ...elementwise('sigmoid', million, (x) => x.sigmoid()),
  ...elementwise('sum', million, (x) => x.sum()),
  ...elementwise('softmax', [1024, 1000], (x) => x.softmax(1)),
];

/** Numbers in the arrays of what moves bytes rather than computes. */
const MANY = 2 ** 22;

const [ROWS, COLS] = [4096, 768];

/** What moves a matrix [4096, 768]: to be compared with its plain copy. */
function moved(name: string, make: () => () => Tensor): Workload[] {
  const prepare = () => {
    const run = make();
    return { run: () => noGrad(run), state: [] };
  };
  return [{ name, amount: (2 * 4 * ROWS * COLS) / 1e9, unit: 'GB/s', make: prepare }];
}

/** Workloads whose measure is bytes read and written. */
export const traffic: readonly Workload[] = [
  {
    name: 'sum of two arrays',
    amount: (3 * 4 * MANY) / 1e9,
    unit: 'GB/s',
    make() {
      const [a, b] = [randn([MANY]), randn([MANY])];
      return { run: () => noGrad(() => a.add(b)), state: [] };
    },
  },
  {
    name: 'sum of an array',
    amount: (4 * MANY) / 1e9,
    unit: 'GB/s',
    make() {
      const a = randn([MANY]);
      return { run: () => noGrad(() => a.sum()), state: [] };
    },
  },
  {
    name: 'transposed copy',
    amount: (2 * 4 * MANY) / 1e9,
    unit: 'GB/s',
    make() {
      const a = randn([2048, MANY / 2048]);
      return { run: () => noGrad(() => a.t().contiguous()), state: [] };
    },
  },
  ...moved('copy', () => {
    const x = randn([ROWS, COLS]);
    return () => x.clone();
  }),
  ...moved('cat of columns', () => {
    const [a, b] = [randn([ROWS, COLS / 2]), randn([ROWS, COLS / 2])];
    return () => cat([a, b], 1);
  }),
  ...moved('permuted copy', () => {
    const x = randn([8, ROWS / 8, 12, COLS / 12]);
    return () => x.permute([0, 2, 1, 3]).contiguous();
  }),
  ...moved('indexSelect of rows', () => {
    const [x, index] = [randn([ROWS, COLS]), rand([ROWS])];
    const integers = tensor(index.dataSync().map((v) => Math.floor(v * ROWS)));
    return () => x.indexSelect(0, integers);
  }),
];
