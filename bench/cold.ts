// Import and first training step, each time in a fresh process.
import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const script = `
const start = performance.now();
const { nn, optim, randn } = await import(${JSON.stringify(fileURLToPath(new URL('../dist/index.js', import.meta.url)))});
const imported = performance.now();
const model = new nn.Linear(10, 1);
const optimizer = new optim.SGD(model.parameters(), { lr: 0.01 });
const loss = new nn.MSELoss().forward(model.forward(randn([100, 10])), randn([100, 1]));
loss.backward();
optimizer.step();
loss.itemSync();
console.log(JSON.stringify([imported - start, performance.now() - start]));`;

/** Milliseconds for the import, and for the import with the first step. */
export function coldStart(): [imported: number, stepped: number] {
  return JSON.parse(
    execFileSync(process.execPath, ['--input-type=module', '-e', script], {
      cwd: fileURLToPath(new URL('..', import.meta.url)),
      encoding: 'utf8',
    }),
  );
}
