// A loop that never yields and never disposes, in a process of its own: node bench/loops.mjs KIND STEPS prints by how many
// MB the resident memory rose above what it was after 200 steps, and what the kept tensors hold. Needs the built package.
import { manualSeed, nn, noGrad, optim, randn, tensor } from '../dist/index.js';

const [kind, steps] = [process.argv[2], Number(process.argv[3])];
manualSeed(1);
const layer = (i, o) => new nn.Linear(i, o);
const model = new nn.Sequential(layer(784, 256), new nn.ReLU(), layer(256, 128), new nn.ReLU(), layer(128, 10));
const x = randn([64, 784]);
const y = tensor(Array.from({ length: 64 }, (_, i) => i % 10));
const criterion = new nn.CrossEntropyLoss();
const optimizer = new optim.SGD(model.parameters(), { lr: 0.1 });

function train() {
  const loss = criterion.forward(model.forward(x), y);
  loss.backward();
  optimizer.step();
  optimizer.zeroGrad();
  return loss;
}

const kept = [];
const expected = [];
const loops = {
  training: () => train(),
  inference: () => model.forward(x),
  losses: () => {
    const loss = train();
    kept.push(loss);
    expected.push(loss.itemSync());
  },
  outputs: (i) => {
    const out = model.forward(x.mul(1 + i / steps));
    if (i % 100 === 0) {
      kept.push(out);
      expected.push(out.sum().itemSync());
    }
  },
};

let base = 0;
let most = 0;
for (let i = 0; i < steps; i++) {
  loops[kind](i);
  if (i === 200) base = process.memoryUsage().rss;
  if (i > 200 && i % 250 === 0) most = Math.max(most, process.memoryUsage().rss - base);
}
const values = noGrad(() => kept.map((t) => t.sum().itemSync()));
const right = values.length === expected.length && values.every((v, i) => v === expected[i]);
console.log(JSON.stringify({ rose: Math.round(most / 2 ** 20), kept: kept.length, right }));
