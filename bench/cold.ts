// Import and first training step of a fresh process, median of several.
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

/** Milliseconds; the first step includes the import. */
export async function coldStart(runs = 15): Promise<{ import: number; 'import + first step': number }> {
  const times = Array.from({ length: runs }, () => {
    const out = execFileSync(process.execPath, ['--input-type=module', '-e', script], { encoding: 'utf8' });
    return JSON.parse(out) as [number, number];
  });
  const median = (i: 0 | 1) => times.map((t) => t[i]).sort((a, b) => a - b)[runs >> 1];
  return { import: +median(0).toFixed(1), 'import + first step': +median(1).toFixed(1) };
}
