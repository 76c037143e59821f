// A table of numbers with the tools that tables need: AdamW, dropout, a schedule of the learning rate and early stopping, beside
// plain SGD on the same network (diabetes data set: 442 patients, 10 measurements, disease progression after one year).
//   npx tsx docs/examples/tabular.ts [--epochs 200] [--folds 5] [--out tabular.safetensors] [--device cpu|gpu|auto]
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { data, fit, manualSeed, metrics, nn, noGrad, optim, type Tensor, useDevice } from 'tapegrad';
import { readCsv, saveModel } from 'tapegrad/io';

const { values: args } = parseArgs({
  options: {
    epochs: { type: 'string', default: '200' },
    folds: { type: 'string', default: '5' },
    out: { type: 'string', default: 'tabular.safetensors' },
    device: { type: 'string', default: 'cpu' },
  },
});
const epochs = Number(args.epochs);
const device = await useDevice(args.device as 'auto' | 'cpu' | 'gpu');
console.log(`device: ${device.type} (${device.backend}, ${device.name}): ${device.reason}`);

const { values } = await readCsv(fileURLToPath(new URL('data/diabetes.csv', import.meta.url)));
const [x, y] = data.splitColumns(values, [10, 1]);

/** 10-64-64-1; the layers of dropout are left out where its rate is 0. */
function network(dropout: number): nn.Sequential {
  const between = () => (dropout > 0 ? [new nn.ReLU(), new nn.Dropout(dropout)] : [new nn.ReLU()]);
  return new nn.Sequential(
    new nn.Linear(10, 64),
    ...between(),
    new nn.Linear(64, 64),
    ...between(),
    new nn.Linear(64, 1),
  );
}

/** One split into training, validation and test set, with scalers that know the training set only. */
function split(seed: number) {
  const [xRest, xTest, yRest, yTest] = data.trainTestSplit(x, y, { testSize: 0.2, seed });
  const [xTrain, xValidation, yTrain, yValidation] = data.trainTestSplit(xRest, yRest, { testSize: 0.2, seed });
  const features = new data.StandardScaler().fit(xTrain);
  const target = new data.StandardScaler().fit(yTrain);
  const set = (a: Tensor, b: Tensor) => new data.TensorDataset(features.transform(a), target.transform(b));
  return {
    train: () => new data.DataLoader(set(xTrain, yTrain), { batchSize: 32, shuffle: true, seed }),
    validation: new data.DataLoader(set(xValidation, yValidation), { batchSize: 128 }),
    /** The test R² of a model. */
    score: (model: nn.Module) =>
      metrics.r2Score(
        noGrad(() => target.inverseTransform(model.eval().forward(features.transform(xTest)) as Tensor)),
        yTest,
      ),
  };
}

const scores: { sgd: number; adamw: number }[] = [];
let best: nn.Sequential | undefined;
for (let fold = 0; fold < Number(args.folds); fold++) {
  const { train, validation, score } = split(fold);

  manualSeed(fold);
  const plain = network(0);
  await fit(plain, {
    train: train(),
    loss: new nn.MSELoss(),
    optimizer: new optim.SGD(plain.parameters(), { lr: 0.01, momentum: 0.9 }),
    epochs,
    progress: false,
  });

  manualSeed(fold);
  const model = network(0.2);
  const optimizer = new optim.AdamW(model.parameters(), { lr: 3e-3, weightDecay: 0.1 });
  const history = await fit(model, {
    train: train(),
    validation,
    loss: new nn.MSELoss(),
    optimizer,
    scheduler: new optim.lrScheduler.CosineAnnealingLR(optimizer, { tMax: epochs }),
    earlyStopping: { patience: 20 },
    epochs,
    progress: false,
  });

  const result = { sgd: await score(plain), adamw: await score(model) };
  console.log(
    `split ${fold}: test R² ${result.sgd.toFixed(3)} with SGD after ${epochs} epochs, ${result.adamw.toFixed(3)} with AdamW, dropout, ` +
      `schedule and early stopping after ${history.epochs.length}`,
  );
  scores.push(result);
  best = model;
}

const mean = (values: number[]) => values.reduce((a, b) => a + b, 0) / values.length;
console.log(`mean test R²: ${mean(scores.map((s) => s.sgd)).toFixed(3)} with SGD`);
console.log(`mean test R²: ${mean(scores.map((s) => s.adamw)).toFixed(3)} with AdamW, dropout, schedule and early stopping`);
await saveModel(best!, args.out);
console.log(`saved ${args.out}`);
