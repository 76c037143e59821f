// SimpleNet 10-5-1 on the diabetes data set (442 patients, 10 measurements, disease progression after one year).
//   npx tsx docs/examples/simple-net.ts [--epochs 300] [--out simple-net.safetensors] [--device cpu|gpu|auto]
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { data, manualSeed, metrics, nn, noGrad, optim, type Tensor, useDevice } from 'tapegrad';
import { readCsv, save } from 'tapegrad/io';

class SimpleNet extends nn.Module {
  fc1 = new nn.Linear(10, 5);
  fc2 = new nn.Linear(5, 1);
  forward(x: Tensor) {
    return this.fc2.forward(this.fc1.forward(x).relu());
  }
}

const { values: args } = parseArgs({
  options: {
    epochs: { type: 'string', default: '10' },
    out: { type: 'string', default: 'simple-net.safetensors' },
    device: { type: 'string', default: 'cpu' },
  },
});
manualSeed(0);
const device = await useDevice(args.device as 'auto' | 'cpu' | 'gpu');
console.log(`device: ${device.type} (${device.backend}, ${device.name}): ${device.reason}`);

// Preprocess: ten columns of features and one target; the scalers are fitted on the training set only.
const { values } = await readCsv(fileURLToPath(new URL('data/diabetes.csv', import.meta.url)));
const table = data.splitColumns(values, [10, 1]);
const [xTrain, xTest, yTrain, yTest] = data.trainTestSplit(table[0], table[1], { testSize: 0.25, seed: 42 });
const features = new data.StandardScaler().fit(xTrain);
const target = new data.StandardScaler().fit(yTrain);
const inputs = features.transform(xTrain);
const labels = target.transform(yTrain);

// Train.
const model = new SimpleNet();
const loader = new data.DataLoader(new data.TensorDataset(inputs, labels), { batchSize: 100, shuffle: true });
const optimizer = new optim.SGD(model.parameters(), { lr: 0.01 });
const criterion = new nn.MSELoss();
let last = Number.NaN;
for (let epoch = 0; epoch < Number(args.epochs); epoch++) {
  for (const [x, y] of loader) {
    const loss = criterion.forward(model.forward(x), y);
    loss.backward();
    optimizer.step();
    optimizer.zeroGrad();
    last = await loss.item();
  }
}

// Evaluate and save.
const predicted = noGrad(() => target.inverseTransform(model.forward(features.transform(xTest))));
console.log(`training loss after ${args.epochs} epochs: ${last.toFixed(4)}`);
console.log(`test R²: ${(await metrics.r2Score(predicted, yTest)).toFixed(4)}`);
await save(model, args.out);
console.log(`saved ${args.out}`);
