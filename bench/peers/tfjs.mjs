// TensorFlow.js on its WebAssembly backend: node tfjs.mjs THREADS
import { resolve } from 'node:path';
import { network, parse, serve } from './serve.mjs';

const begin = performance.now();
const tf = await import('@tensorflow/tfjs');

if (process.argv[2] === 'cold') {
  await tf.setBackend('cpu');
  const w = tf.variable(tf.randomNormal([10, 1]));
  const [x, y] = [tf.randomNormal([100, 10]), tf.randomNormal([100, 1])];
  const loss = tf.train.sgd(0.01).minimize(() => tf.mean(tf.square(tf.sub(tf.matMul(x, w), y))), true);
  loss.dataSync();
  console.log(performance.now() - begin);
  process.exit(0);
}

const { setThreadsCount, setWasmPaths } = await import('@tensorflow/tfjs-backend-wasm');
tf.env().set('IS_NODE', true);
tf.enableProdMode();
setWasmPaths(`${resolve('node_modules/@tensorflow/tfjs-backend-wasm/dist')}/`);
setThreadsCount(Number(process.argv[2]));
await tf.setBackend('wasm');
await tf.ready();

function mlp({ sizes, batch, loss, lr }) {
  const layers = sizes.slice(1).map((out, i) => ({
    w: tf.variable(tf.randomNormal([sizes[i], out], 0, 1 / Math.sqrt(sizes[i]))),
    b: tf.variable(tf.zeros([out])),
  }));
  const classes = sizes.at(-1);
  const x = tf.randomNormal([batch, sizes[0]]);
  const y =
    loss === 'ce'
      ? tf
          .oneHot(
            tf.tensor1d(
              Array.from({ length: batch }, (_, i) => i % classes),
              'int32',
            ),
            classes,
          )
          .toFloat()
      : tf.randomNormal([batch, classes]);
  const optimizer = tf.train.sgd(lr);
  const forward = () =>
    layers.reduce((h, { w, b }, i) => {
      const out = tf.add(tf.matMul(h, w), b);
      return i < layers.length - 1 ? tf.relu(out) : out;
    }, x);
  const lossOf = () =>
    loss === 'ce' ? tf.losses.softmaxCrossEntropy(y, forward()) : tf.mean(tf.square(tf.sub(forward(), y)));
  return {
    train: () => tf.tidy(() => void optimizer.minimize(lossOf, true).dataSync()),
    infer: () => tf.tidy(() => void forward().dataSync()),
  };
}

/** Runs an operation, reads its result and hands it back. */
const consume = (run) => () => {
  const result = run();
  result.dataSync();
  result.dispose();
};

await serve(`tfjs ${tf.version.tfjs} (wasm)`, (name) => {
  const parts = parse(name);
  if (parts.kind === 'W1') {
    const [m, k, n] = parts.sizes;
    const [a, b] = [tf.randomNormal([m, k]), tf.randomNormal([k, n])];
    return consume(() => tf.matMul(a, b));
  }
  if (parts.kind === 'W5') {
    const v = tf.randomNormal(parts.what === 'softmax' ? [1024, 1000] : [1_000_000]);
    return consume(() => (parts.what === 'add' ? tf.add(v, v) : tf[parts.what](v)));
  }
  const { train, infer } = mlp(network(parts));
  return parts.kind === 'W4' ? infer : train;
});
