// W1 (square products), W2 (a SimpleNet training step), W3 (an MLP training step): `npm run bench`.
// One thread; medians of tinybench's samples. GFLOP/s count 2·n³ for a product, 6·parameters·batch for a step.
import { nn, optim, randn, type Tensor, tensor, useDevice } from 'tapegrad';
import { Bench } from 'tinybench';

const bench = new Bench({ time: 1000, warmupTime: 300 });
const flops = new Map<string, number>();
const samples = new Map<string, number>();

for (const n of [64, 128, 256, 512, 1024]) {
  const a = randn([n, n]);
  const b = randn([n, n]);
  const name = `W1 matmul ${n}`;
  flops.set(name, 2 * n ** 3);
  bench.add(name, () => a.matmul(b));
}

function trainingStep(model: nn.Module, x: Tensor, y: Tensor, loss: nn.MSELoss | nn.CrossEntropyLoss, lr: number) {
  const optimizer = new optim.SGD(model.parameters(), { lr });
  return () => {
    const value = loss.forward(model.forward(x), y);
    optimizer.zeroGrad();
    value.backward();
    optimizer.step();
  };
}

const labels = (n: number, classes: number) =>
  tensor(
    Array.from({ length: n }, (_, i) => i % classes),
    { shape: [n] },
  );
const mlp = (...sizes: number[]) =>
  new nn.Sequential(
    ...sizes.slice(1).flatMap((out, i) => [...(i > 0 ? [new nn.ReLU()] : []), new nn.Linear(sizes[i], out)]),
  );
const parametersOf = (model: nn.Module) => model.parameters().reduce((sum, p) => sum + p.size, 0);

samples.set('W2 SimpleNet step', 1);
bench.add('W2 SimpleNet step', trainingStep(mlp(10, 5, 1), randn([100, 10]), randn([100, 1]), new nn.MSELoss(), 0.01));
for (const batch of [64, 512]) {
  const name = `W3 MLP batch ${batch}`;
  const model = mlp(784, 256, 128, 10);
  samples.set(name, batch);
  flops.set(name, 6 * parametersOf(model) * batch);
  bench.add(name, trainingStep(model, randn([batch, 784]), labels(batch, 10), new nn.CrossEntropyLoss(), 0.1));
}

const device = await useDevice('auto');
console.log(`Node ${process.versions.node}, ${device.backend}, ${device.name}`);
await bench.run();
console.table(
  bench.tasks.map(({ name, result }) => {
    if (result.state !== 'completed') throw new Error(`${name}: ${result.state}`);
    const seconds = result.latency.p50 / 1000;
    return {
      workload: name,
      'median µs': +(seconds * 1e6).toFixed(1),
      'GFLOP/s': flops.has(name) ? +(flops.get(name)! / seconds / 1e9).toFixed(1) : '',
      'steps or samples/s': samples.has(name) ? Math.round(samples.get(name)! / seconds) : '',
    };
  }),
);
