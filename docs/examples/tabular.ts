// A table of numbers with the tools that tables need: AdamW, dropout, a schedule of the learning rate and early stopping, beside
// the run of simple-net.ts, which is SGD on a network of five hidden units, on the same splits of the diabetes data set (442
// patients, 10 measurements, disease progression after one year). Both train on the same patients.
//   npx tsx docs/examples/tabular.ts [--epochs 300] [--splits 10] [--out tabular.safetensors] [--device cpu|gpu|auto]
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { data, fit, manualSeed, metrics, nn, noGrad, optim, type Tensor, useDevice } from 'tapegrad';
import { readCsv, saveModel } from 'tapegrad/io';

const { values: args } = parseArgs({
  options: {
    epochs: { type: 'string', default: '300' },
    splits: { type: 'string', default: '10' },
    out: { type: 'string', default: 'tabular.safetensors' },
    device: { type: 'string', default: 'cpu' },
  },
});
const epochs = Number(args.epochs);
const device = await useDevice(args.device as 'auto' | 'cpu' | 'gpu');
console.log(`device: ${device.type} (${device.backend}, ${device.name}): ${device.reason}`);

const { values } = await readCsv(fileURLToPath(new URL('data/diabetes.csv', import.meta.url)));
const [x, y] = data.splitColumns(values, [10, 1]);

const sgdNetwork = () => new nn.Sequential(new nn.Linear(10, 5), new nn.ReLU(), new nn.Linear(5, 1));

const network = () =>
  new nn.Sequential(
    new nn.Linear(10, 64),
    new nn.ReLU(),
    new nn.Dropout(0.4),
    new nn.Linear(64, 64),
    new nn.ReLU(),
    new nn.Dropout(0.4),
    new nn.Linear(64, 1),
  );

/** One split into training, validation and test set, with scalers that know the training set only. */
function split(seed: number) {
  const [xRest, xTest, yRest, yTest] = data.trainTestSplit(x, y, { testSize: 0.2, seed });
  const [xTrain, xValidation, yTrain, yValidation] = data.trainTestSplit(xRest, yRest, { testSize: 0.2, seed });
  const features = new data.StandardScaler().fit(xTrain);
  const target = new data.StandardScaler().fit(yTrain);
  const set = (a: Tensor, b: Tensor) => new data.TensorDataset(features.transform(a), target.transform(b));
  const [training, validation] = [set(xTrain, yTrain), set(xValidation, yValidation)];
  return {
    validation: new data.DataLoader(validation, { batchSize: 128 }),
    inBatches: (batchSize: number) => new data.DataLoader(training, { batchSize, shuffle: true, seed }),
    /** The test R² of a model. */
    score: (model: nn.Sequential) =>
      metrics.r2Score(
        noGrad(() => target.inverseTransform(model.eval().forward(features.transform(xTest)))),
        yTest,
      ),
  };
}

const scores: { sgd: number; adamw: number }[] = [];
let best: nn.Sequential | undefined;
for (let seed = 0; seed < Number(args.splits); seed++) {
  const { inBatches, validation, score } = split(seed);

  manualSeed(seed);
  const plain = sgdNetwork();
  await fit(plain, {
    train: inBatches(100),
    loss: new nn.MSELoss(),
    optimizer: new optim.SGD(plain.parameters(), { lr: 0.01 }),
    epochs,
    progress: false,
  });

  manualSeed(seed);
  const model = network();
  const optimizer = new optim.AdamW(model.parameters(), { lr: 1e-3, weightDecay: 0.5 });
  const history = await fit(model, {
    train: inBatches(32),
    validation,
    loss: new nn.MSELoss(),
    optimizer,
    scheduler: new optim.lrScheduler.CosineAnnealingLR(optimizer, { tMax: 200 }),
    earlyStopping: { patience: 40 },
    epochs: Math.min(epochs, 200),
    progress: false,
  });

  const result = { sgd: await score(plain), adamw: await score(model) };
  console.log(
    `split ${seed}: test R² ${result.sgd.toFixed(3)} with SGD after ${epochs} epochs, ${result.adamw.toFixed(3)} with AdamW, dropout, ` +
      `schedule and early stopping after ${history.epochs.length}`,
  );
  scores.push(result);
  best = model;
}

const mean = (values: number[]) => values.reduce((a, b) => a + b, 0) / values.length;
console.log(`mean test R²: ${mean(scores.map((s) => s.sgd)).toFixed(3)} with SGD`);
console.log(
  `mean test R²: ${mean(scores.map((s) => s.adamw)).toFixed(3)} with AdamW, dropout, schedule and early stopping`,
);
await saveModel(best!, args.out);
console.log(`saved ${args.out}`);
