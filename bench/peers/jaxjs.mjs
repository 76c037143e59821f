// jax-js on WebAssembly, jitted, every result read back because it computes lazily. It needs Node 21 or newer.
import { readFileSync } from 'node:fs';
import { network, parse, serve } from './serve.mjs';

const begin = performance.now();
const { defaultDevice, grad, init, jit, nn, numpy: np, tree, valueAndGrad } = await import('@jax-js/jax');
await init('wasm');
defaultDevice('wasm');

if (process.argv[2] === 'cold') {
  const [x, y] = [np.ones([100, 10]), np.ones([100, 1])];
  const step = grad((w) => np.mean(np.square(np.matmul(x.ref, w).sub(y.ref))));
  const w = np.ones([10, 1]);
  w.ref.sub(step(w.ref).mul(0.01)).dataSync();
  console.log(performance.now() - begin);
  process.exit(0);
}

function random(...shape) {
  const values = Float32Array.from({ length: shape.reduce((p, d) => p * d, 1) }, () => Math.random() - 0.5);
  return np.array(values).reshape(shape);
}

function oneHot(rows, classes) {
  const values = new Float32Array(rows * classes);
  for (let i = 0; i < rows; i++) values[i * classes + (i % classes)] = 1;
  return np.array(values).reshape([rows, classes]);
}

function mlp({ sizes, batch, loss, lr }) {
  let params = sizes.slice(1).map((out, i) => ({
    w: random(sizes[i], out).mul(2 / Math.sqrt(sizes[i])),
    b: np.zeros([out]),
  }));
  const x = random(batch, sizes[0]);
  const y = loss === 'ce' ? oneHot(batch, sizes.at(-1)) : random(batch, sizes.at(-1));
  const forward = (p, input) =>
    p.reduce((h, { w, b }, i) => {
      const out = np.matmul(h, w).add(b);
      return i < p.length - 1 ? nn.relu(out) : out;
    }, input);
  const lossOf = (p, input, target) => {
    const out = forward(p, input);
    return loss === 'ce'
      ? np.mean(np.sum(nn.logSoftmax(out).mul(target), 1)).mul(-1)
      : np.mean(np.square(out.sub(target)));
  };
  const both = valueAndGrad(lossOf);
  const update = jit((p, input, target) => {
    const [value, g] = both(tree.ref(p), input, target);
    return [p.map(({ w, b }, i) => ({ w: w.sub(g[i].w.mul(lr)), b: b.sub(g[i].b.mul(lr)) })), value];
  });
  const infer = jit(forward);
  return {
    train() {
      const [next, value] = update(params, x.ref, y.ref);
      params = next;
      value.dataSync();
    },
    infer: () => void infer(tree.ref(params), x.ref).dataSync(),
  };
}

const elementwise = {
  add: (v) => v.ref.add(v),
  relu: (v) => nn.relu(v),
  exp: (v) => np.exp(v),
  tanh: (v) => np.tanh(v),
  sigmoid: (v) => nn.sigmoid(v),
  sum: (v) => np.sum(v),
  softmax: (v) => nn.softmax(v),
};

const { version } = JSON.parse(readFileSync('node_modules/@jax-js/jax/package.json', 'utf8'));
await serve(`jax-js ${version} (Node ${process.versions.node})`, (name) => {
  const parts = parse(name);
  if (parts.kind === 'W1') {
    const [m, k, n] = parts.sizes;
    const [a, b] = [random(m, k), random(k, n)];
    const product = jit((p, q) => np.matmul(p, q));
    return () => void product(a.ref, b.ref).dataSync();
  }
  if (parts.kind === 'W5') {
    const v = parts.what === 'softmax' ? random(1024, 1000) : random(1_000_000);
    const run = jit(elementwise[parts.what]);
    return () => void run(v.ref).dataSync();
  }
  const { train, infer } = mlp(network(parts));
  return parts.kind === 'W4' ? infer : train;
});
