// A page's program, bundled from the built package and minified: one training run on a device, and what it says of it.
import { getNumThreads, manualSeed, nn, optim, randn, useDevice } from 'tapegrad';

/** @param withoutWebGpu hides the browser's WebGPU, so that WebGL2 is next */
export async function train(device: 'cpu' | 'gpu', withoutWebGpu = false) {
  if (withoutWebGpu) Object.defineProperty(navigator, 'gpu', { value: undefined, configurable: true });
  const info = await useDevice(device);
  manualSeed(1);
  const model = new nn.Sequential(new nn.Linear(64, 96), new nn.Tanh(), new nn.Linear(96, 8));
  const optimizer = new optim.SGD(model.parameters(), { lr: 0.05, momentum: 0.9 });
  const [x, y] = [randn([256, 64]), randn([256, 8])];
  const losses: number[] = [];
  for (let step = 0; step < 50; step++) {
    const loss = nn.functional.mseLoss(model.forward(x), y);
    loss.backward();
    optimizer.step();
    optimizer.zeroGrad();
    losses.push(await loss.item());
  }
  return { info, losses, threads: getNumThreads() };
}

Object.assign(globalThis, { train });
