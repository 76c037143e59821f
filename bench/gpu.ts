// `npm run bench:gpu`: products with and without tiles, products, training steps and the batch from which the GPU is faster, on the GPU and on the CPU.
//   --python PATH   a Python whose torch has CUDA, to take turns with
//   --seconds 0.3   how long a turn lasts
//   --rounds 5      how many turns each has
//   --only tiles    the first table alone
//   --json FILE     writes all tables to a file as well
import { writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { compile, type Tensor, useDevice } from 'tapegrad';
import { Peer } from './compare/peer.js';
import { hostCosts } from './gpu-host.js';
import { median } from './peak.js';
import { layer, product, type Runner, steps, traffic, type Workload, workloads } from './workloads.js';

const { values: options } = parseArgs({
  args: process.argv.slice(2).filter((arg) => arg !== '--'),
  options: {
    python: { type: 'string', default: '' },
    seconds: { type: 'string', default: '0.3' },
    rounds: { type: 'string', default: '5' },
    only: { type: 'string', default: '' },
    json: { type: 'string', default: '' },
  },
});
const [seconds, rounds] = [Number(options.seconds), Number(options.rounds)];
/** A workload of which one run takes longer is left out. */
const LONGEST_RUN = 5;

const gpu = await useDevice('gpu');
console.log(`Node ${process.versions.node} on ${cpus()[0].model}`);
console.log(`GPU: ${gpu.name} through ${gpu.backend}: ${gpu.reason}`);

const tables: Record<string, unknown> = { node: process.versions.node, cpu: cpus()[0].model, gpu };
/** Prints a table, and keeps the file up to date: a machine may be taken away before the end. */
function show(name: string, rows: readonly object[]): void {
  console.log(name);
  console.table(rows);
  tables[name] = rows;
  if (options.json !== '') writeFileSync(options.json, `${JSON.stringify(tables, null, 2)}\n`);
}

interface Side {
  readonly label: string;
  /** Seconds for one run, or what went wrong. */
  measure(): Promise<number | string>;
}

/** Runs more and more before it waits, so that the waiting does not count. */
async function time({ run, state }: Runner, least: number): Promise<number> {
  let [runs, passed, turn] = [0, 0, 1];
  const begin = performance.now();
  while (passed < least) {
    let last = run();
    for (let i = 1; i < turn; i++) last = run();
    await done(last, state);
    runs += turn;
    passed = (performance.now() - begin) / 1000;
    turn *= 2;
  }
  return passed / runs;
}

const done = (result: Tensor, state: readonly Tensor[]) => Promise.all([result, ...state].map((t) => t.sum().item()));

async function side(label: string, device: 'cpu' | 'gpu', make: () => Runner): Promise<Side> {
  await useDevice(device);
  const runner = make();
  // Kernels are compiled at first sight, and a compiled step records its second call.
  for (let i = 0; i < 3; i++) await done(runner.run(), runner.state);
  return {
    label,
    async measure() {
      await useDevice(device);
      return time(runner, seconds);
    },
  };
}

/** Medians of all sides over turns that they take, in seconds a run. */
async function compare(sides: readonly Side[], turns = rounds): Promise<Map<string, number | string>> {
  const all = sides.map(() => [] as (number | string)[]);
  for (let turn = 0; turn < turns; turn++) {
    for (const [i, s] of sides.entries()) all[i].push(await s.measure());
  }
  return new Map(
    sides.map((s, i) => {
      const wrong = all[i].find((t) => typeof t === 'string');
      return [s.label, wrong ?? median(all[i] as number[])];
    }),
  );
}

/** Whether one run on the GPU is short enough to be measured. */
async function isShort(make: () => Runner): Promise<boolean> {
  await useDevice('gpu');
  const begin = performance.now();
  const { run, state } = make();
  await done(run(), state);
  return performance.now() - begin < 1000 * LONGEST_RUN;
}

const compiled = ({ run, state }: Runner): Runner => ({ run: compile(run), state });

let torch: Peer | null = null;
if (options.python !== '') {
  const cwd = fileURLToPath(new URL('peers', import.meta.url));
  const peer = new Peer({ label: 'PyTorch CUDA', command: options.python, args: ['pytorch.py', '1', 'cuda'], cwd });
  if (await peer.start()) torch = peer;
  else console.log(`no PyTorch with CUDA in ${options.python}`);
}
console.log(torch === null ? 'without PyTorch' : torch.version);

const rate = (t: number | string | undefined, amount: number) =>
  typeof t === 'number' ? +(amount / t).toPrecision(4) : (t ?? '');

/** A product on the GPU with one of the kernels; see Tiling in src/backends/gpu/product.ts. */
async function tiled(tiling: string, make: () => Runner): Promise<Side> {
  await useDevice('gpu');
  const { run, state } = make();
  // The packed benchmark has no sources to import: the backend is that of a tensor.
  const { backend } = run() as unknown as { backend: { tiling: string } };
  const choosing: Runner = {
    state,
    run() {
      backend.tiling = tiling;
      const result = run();
      backend.tiling = 'by size';
      return result;
    },
  };
  await done(choosing.run(), state);
  return {
    label: tiling,
    async measure() {
      await useDevice('gpu');
      return time(choosing, seconds);
    },
  };
}

/** One row of the table of a workload: everybody's rate. */
async function row({ name, amount, unit, make }: Workload, isStep: boolean): Promise<Record<string, string | number>> {
  if (!(await isShort(make))) return { workload: name, unit, gpu: `a run takes more than ${LONGEST_RUN} s` };
  const sides = [await side('gpu', 'gpu', make), await side('cpu', 'cpu', make)];
  if (isStep) sides.push(await side('gpu, compiled', 'gpu', () => compiled(make())));
  if (torch !== null) sides.push({ label: 'PyTorch CUDA', measure: () => torch!.measure(name, seconds) });
  const times = await compare(sides);
  const of = (label: string) => rate(times.get(label), amount);
  const best = Math.min(
    ...[...times].flatMap(([label, t]) => (label.startsWith('gpu') && typeof t === 'number' ? [t] : [])),
  );
  const [onCpu, cuda] = [times.get('cpu'), times.get('PyTorch CUDA')];
  return {
    workload: name,
    unit,
    gpu: of('gpu'),
    'gpu, compiled': of('gpu, compiled'),
    cpu: of('cpu'),
    'PyTorch CUDA': of('PyTorch CUDA'),
    'gpu / cpu': typeof onCpu === 'number' ? +(onCpu / best).toPrecision(3) : '',
    'gpu / PyTorch CUDA': typeof cuda === 'number' ? +(cuda / best).toPrecision(3) : '',
  };
}

// The two kernels for products take turns, so that their ratio holds whatever else the machine does.
const tiles: Record<string, string | number>[] = [];
if (gpu.backend === 'webgpu') {
  const shapes = [256, 512, 1024].map((n) => product(n, n, n));
  for (const { name, amount, make } of [...shapes, layer(64, 784, 128), layer(256, 784, 256)]) {
    const sides = await Promise.all(['by size', 'never'].map((tiling) => tiled(tiling, make)));
    // In software the largest of them takes many seconds.
    const times = await compare(sides, gpu.reason.includes('in software') ? Math.min(rounds, 3) : rounds);
    const [inTiles, plain] = sides.map(({ label }) => times.get(label) as number);
    tiles.push({
      product: name,
      'tiles, GFLOP/s': rate(inTiles, amount),
      'plain, GFLOP/s': rate(plain, amount),
      ratio: +(plain / inTiles).toPrecision(3),
    });
  }
  show('products in tiles', tiles);
}
if (options.only === 'tiles') process.exit(0);

const table: Record<string, string | number>[] = [];
for (const n of [256, 1024, 2048, 4096]) table.push(await row(product(n, n, n), false));
for (const workload of workloads.filter((w) => w.name.startsWith('W3'))) table.push(await row(workload, true));
for (const workload of traffic) table.push(await row(workload, false));
show('workloads', table);
await useDevice('gpu');
if (gpu.backend === 'webgpu') show('host', await hostCosts(steps(64)));

// The same training step at batch after batch: where does the GPU overtake?
let faster = 0;
const sweep: Record<string, string | number>[] = [];
for (const batch of [1, 4, 16, 64, 256, 1024, 4096, 16384]) {
  const entry = await row(steps(batch), true);
  sweep.push(entry);
  if (typeof entry['gpu / cpu'] !== 'number') break;
  if (entry['gpu / cpu'] < 1) faster = batch;
}
show('batches', sweep);
console.log(`largest batch of these at which the CPU is faster: ${faster === 0 ? 'none' : faster}`);
torch?.stop();
process.exit(0);
