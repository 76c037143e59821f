import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { Worker } from 'node:worker_threads';
import { afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { adam } from '../src/backends/cpu/generated/adam.js';
import { CpuBackend } from '../src/backends/cpu/index.js';
import { Pool } from '../src/backends/cpu/pool.js';
import { compile, instantiate, type Kernels, type Program } from '../src/backends/cpu/wasm.js';
import { ReferenceBackend } from '../src/backends/reference.js';
import { startCpu } from '../src/backends/registry.js';
import { getNumThreads, manualSeed, nn, optim, randn, setNumThreads, tensor } from '../src/index.js';
import { table } from '../src/ops/table.js';
import { loopNest } from '../src/shape.js';
import { errorOf, sample, withCpu } from './helpers.js';

const COUNTS = [1, 2, 4];

const backends = COUNTS.map((threads) => new CpuBackend('wasm-relaxed-simd', threads));
beforeAll(async () => {
  for (const backend of backends) await allUp(backend.pool, backend.threads);
});

async function allUp(pool: Pool, threads: number): Promise<void> {
  pool.start();
  while (pool.up < threads - 1) await new Promise((resolve) => setTimeout(resolve, 5));
}

/** Whether two arrays hold the same bits. */
const same = (a: Float32Array, b: Float32Array) => Buffer.from(a.buffer).equals(Buffer.from(b.buffer));

const rowKernel = (name: string, steps: readonly number[]) => ({
  name,
  changes: [],
  steps: () => steps,
  flops: () => 0,
  cost: () => 120,
});

describe('results do not depend on the number of threads', () => {
  const shapes = [
    [300, 200, 700],
    [64, 256, 784],
    [512, 10, 512],
    [33, 1050, 520],
    [900, 30, 40],
    [1, 3000, 500],
    [3000, 1, 500],
  ];
  it.each(shapes)('in products %i x %i x %i of every layout', (m, n, k) => {
    const [a, b, bias] = [sample(m * k, [-1, 1], 1), sample(n * k, [-1, 1], 2), sample(n, [-1, 1], 3)];
    const results: Float32Array[][] = [];
    for (const cpu of backends) {
      const [pa, pb, pBias] = [a, b, bias].map((x) => cpu.upload(x));
      const outs: Float32Array[] = [];
      for (const transA of [false, true]) {
        for (const transB of [false, true]) {
          const plan = { m, n, k, transA, transB, relu: transA, offsetsA: [0], offsetsB: [0] };
          for (let i = 0; i < 3; i++) outs.push(cpu.readSync(cpu.matmul(plan, pa, pb, pBias)));
        }
      }
      results.push(outs);
    }
    for (const outs of results.slice(1)) {
      for (const [i, out] of outs.entries()) expect(same(out, results[0][i])).toBe(true);
    }
  });
  it('in every element-wise, reduced and fused row', () => {
    const n = 100_000;
    const [x, y] = [sample(n, [0.1, 4], 1), sample(n, [0.1, 4], 2)];
    const labels = Float32Array.from({ length: 1000 }, (_, i) => i % 100);
    const all: Float32Array[][] = [];
    for (const cpu of backends) {
      const [a, b, g, l] = [x, y, [0.5], labels].map((v) => cpu.upload(v));
      const outs = [
        ...Object.values(table.unary).map((row) => cpu.unary(row, a)),
        ...Object.values(table.binary).map((row) => cpu.binary(row, a, b, loopNest([n], [n], [n]), n)),
        cpu.binary(table.binary.add, a, b, loopNest([1000, 100], [100], [1000, 100]), n),
        ...Object.values(table.reduce).map((row) => cpu.reduce(row, a, 1000, 10, 10)),
        cpu.softmax(a, 1000, 100, false),
        cpu.softmax(a, 1000, 100, true),
        cpu.fused(rowKernel('crossEntropy', [100, 1, 1]), [a, l], 1000, [1000, 100], [])!,
        cpu.fused(rowKernel('crossEntropyGrad', [100, 1, 0, 100]), [a, l, g], n, [1000, 100], [0.1])!,
      ];
      all.push(outs.map((out) => cpu.readSync(out)));
    }
    for (const outs of all.slice(1)) {
      for (const [i, out] of outs.entries()) expect(same(out, all[0][i]), `result ${i}`).toBe(true);
    }
  });
  it.each([
    [1, 300, 64],
    [1, 5000, 3],
    [40, 50, 20],
    [3000, 30, 1],
  ])('in what indices pick from [%i, %i, %i], and in its sums', (outer, length, inner) => {
    for (const shared of [true, false]) {
      const count = 1.5 * length;
      const plan = { outer, length, inner, count, shared };
      const size = outer * count * inner;
      const [x, g] = [sample(outer * length * inner, [-1, 1], 1), sample(size, [-1, 1], 2)];
      const index = sample(shared ? count : size, [0, length - 0.01], 3).map(Math.floor);
      const results = backends.flatMap((cpu) => {
        const [px, pi, pg] = [x, index, g].map((v) => cpu.upload(v));
        return [0, 1, 2].map(() => [cpu.gather(px, pi, plan), cpu.scatter(pg, pi, plan)].map((y) => cpu.readSync(y)));
      });
      const plain = new ReferenceBackend('reference', '');
      const [picked, sums] = [
        plain.gather(plain.upload(x), plain.upload(index), plan),
        plain.scatter(plain.upload(g), plain.upload(index), plan),
      ].map((y) => plain.readSync(y) as Float32Array);
      for (const [a, b] of results) expect([same(a, picked), same(b, sums)]).toEqual([true, true]);
    }
  });
  it('in training', async () => {
    const runs: Float32Array[] = [];
    for (const cpu of backends) {
      await withCpu(cpu, () => {
        manualSeed(5);
        const model = new nn.Sequential(new nn.Linear(200, 100), new nn.ReLU(), new nn.Linear(100, 10));
        const optimizer = new optim.SGD(model.parameters(), { lr: 0.1, momentum: 0.9, weightDecay: 1e-3 });
        const x = randn([256, 200]);
        const y = tensor(Array.from({ length: 256 }, (_, i) => i % 10));
        for (let step = 0; step < 20; step++) {
          nn.functional.crossEntropy(model.forward(x), y).backward();
          optimizer.step();
          optimizer.zeroGrad();
        }
        runs.push(model.parameters()[0].dataSync());
      });
    }
    for (const run of runs.slice(1)) expect(same(run, runs[0])).toBe(true);
  });
});

describe('setNumThreads', () => {
  it('takes whole numbers from 1 to 64 and says what else it was given', async () => {
    const before = getNumThreads();
    for (const wrong of [0, -1, 1.5, Number.NaN, 65, '2', null]) {
      const error = await errorOf(() => setNumThreads(wrong as number));
      expect(error.message).toMatch(/^\[setNumThreads\] the number of threads is .*integer from 1 to 64/);
    }
    expect(getNumThreads()).toBe(before);
    setNumThreads(3);
    expect(getNumThreads()).toBe(3);
    setNumThreads(before);
  });
  it('can change again and again while work goes on', async () => {
    const cpu = new CpuBackend('wasm-relaxed-simd', 2);
    const x = cpu.upload(sample(200_000, [-1, 1]));
    const expected = cpu.readSync(cpu.unary(table.unary.exp, x));
    for (const threads of [4, 1, 2, 3, 1, 4]) {
      cpu.threads = threads;
      cpu.pool.start();
      for (let i = 0; i < 50; i++) {
        const y = cpu.unary(table.unary.exp, x);
        if (i % 10 === 0) expect(same(cpu.readSync(y), expected)).toBe(true);
      }
    }
  });
});

/** Runs a script that imports the built package; resolves to what it printed. */
async function script(code: string, env: Record<string, string> = {}): Promise<string> {
  const dist = fileURLToPath(new URL('../dist/index.js', import.meta.url));
  const source = code.replace("'tapegrad'", JSON.stringify(dist));
  const options = { env: { ...process.env, ...env }, timeout: 60_000 };
  const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '-e', source], options);
  return stdout.trim();
}

describe('a program', () => {
  it('takes its number of threads from TAPEGRAD_THREADS, and is told if it is none', async () => {
    const code = `
      import { getNumThreads } from 'tapegrad';
      try { console.log(getNumThreads()); } catch (error) { console.log(error.message); }`;
    expect(await script(code, { TAPEGRAD_THREADS: '3' })).toBe('3');
    for (const wrong of ['0', '-1', 'two', '1.5', '1e9']) {
      const message = await script(code, { TAPEGRAD_THREADS: wrong });
      expect(message).toMatch(/^\[TAPEGRAD_THREADS\] the number of threads is .*integer from 1 to 64/);
    }
  });
  it('uses no processor while it is idle, and ends by itself', async () => {
    const code = `
      import { randn } from 'tapegrad';
      const a = randn([400, 400]);
      for (let i = 0; i < 50; i++) a.matmul(a);
      setTimeout(() => {
        const before = process.cpuUsage();
        setTimeout(() => {
          const { user, system } = process.cpuUsage(before);
          console.log((user + system) / 1000);
        }, 1000);
      }, 500);`;
    expect(Number(await script(code, { TAPEGRAD_THREADS: '2' }))).toBeLessThan(200);
  });
  it('runs on one thread where there is no shared memory, and says so', async () => {
    const code = `
      delete globalThis.SharedArrayBuffer;
      const { getNumThreads, tensor, useDevice } = await import('tapegrad');
      console.log(getNumThreads(), tensor([1, 2]).sum().itemSync(), (await useDevice('cpu')).reason);`;
    expect(await script(code, { TAPEGRAD_THREADS: '4' })).toMatch(
      /^1 3 .*one thread, because shared memory is not available/,
    );
  });
});

describe('what can go wrong', () => {
  afterEach(() => {
    vi.restoreAllMocks();
  });

  /** A pool of one worker, which the test gets hold of. */
  async function pair(kernels?: (real: ReturnType<typeof instantiate>) => Pool) {
    const workers: Worker[] = [];
    class Caught extends Worker {
      constructor(...args: ConstructorParameters<typeof Worker>) {
        super(...args);
        workers.push(this);
      }
    }
    const load = process.getBuiltinModule;
    vi.spyOn(process, 'getBuiltinModule').mockImplementation(((name: string) =>
      name === 'node:worker_threads' ? { Worker: Caught } : load(name)) as typeof load);
    const program = instantiate('wasm-simd');
    const pool = kernels?.(program) ?? new Pool(program.kernels, program.module, program.memory);
    pool.threads = 2;
    await allUp(pool, 2);
    return { pool, worker: workers[0] };
  }

  /** Rows of no columns: nothing is read or written, but it takes long. */
  const endless = {
    kernel: 'softmax',
    args: [0, 0, 0, 0],
    perUnit: [],
    counted: 2,
    units: 2 ** 31 - 1,
    grain: 1,
    cost: 1,
  };

  it('a worker that dies in mid-kernel is an error, and the program goes on with one thread', async () => {
    let killed = () => {};
    const { pool, worker } = await pair(({ kernels, module, memory }) => {
      const own = {
        ...kernels,
        softmax: () => {
          killed();
          return 0;
        },
      };
      return new Pool(own, module, memory, 500);
    });
    killed = () => {
      // By now the worker has taken a chunk as well.
      const until = performance.now() + 100;
      while (performance.now() < until);
      void worker.terminate();
    };
    const error = await errorOf(() => pool.run(endless));
    expect(error.message).toContain('a worker thread ended or hangs in the middle of softmax');
    expect(pool.threads).toBe(1);
    expect(pool.obstacle).toContain('softmax');
    pool.run({ ...endless, units: 10 });
  });
  it('a worker that dies between two operations leaves one thread, and nothing is lost', async () => {
    const { pool, worker } = await pair();
    await worker.terminate();
    pool.run({ ...endless, units: 1e7 });
    expect(pool.threads).toBe(1);
    expect(pool.obstacle).toContain('a worker thread ended');
  });
  it('a worker from before a library was loaded takes no part in calls of its kernels', async () => {
    const own: Record<string, Kernels[string]> = {};
    let added!: Program;
    const { pool } = await pair(({ kernels, module, memory }) => {
      added = compile(adam, 'wasm-simd', memory);
      return new Pool(Object.assign(own, kernels), module, memory);
    });
    const run = (kernel: string) => {
      const args = new Array<number>(13).fill(0);
      pool.run({ kernel, args, perUnit: [], counted: 5, units: 64, grain: 1, cost: 1e4 });
    };
    const exported = Object.keys(added.kernels);
    expect(exported).toContain('memory');
    for (let i = 0; i < 40; i++) {
      const kernel = `adam${i}`;
      own[kernel] = added.kernels.adam;
      await allUp(pool, 2);
      // The worker is looking for work when it is retired.
      if (i > 0) run(`adam${i - 1}`);
      pool.add(
        exported.map((name) => (name === 'adam' ? kernel : name)),
        added.module,
      );
      pool.start();
      for (let j = 0; j < 200; j++) run(kernel);
    }
    expect(pool.obstacle).toBe(null);
  });
  it('a worker that cannot be started leaves one thread', () => {
    const { kernels, module, memory } = instantiate('wasm-simd');
    vi.spyOn(process, 'getBuiltinModule').mockImplementation((() => ({
      Worker: class {
        constructor() {
          throw new Error('no threads today');
        }
      },
    })) as unknown as typeof process.getBuiltinModule);
    const pool = new Pool(kernels, module, memory);
    pool.threads = 4;
    pool.start();
    expect(pool.threads).toBe(1);
    expect(pool.obstacle).toContain('no threads today');
  });
  it('kernels that do not compile leave plain JavaScript, with the reason', () => {
    vi.spyOn(WebAssembly, 'Module').mockImplementation(function refuse() {
      throw new WebAssembly.CompileError('not today');
    });
    const backend = startCpu({ build: 'wasm-simd' });
    expect(backend.info()).toMatchObject({ type: 'cpu', backend: 'reference' });
    expect(backend.info().reason).toContain('CompileError: not today');
    expect([...backend.readSync!(backend.unary(table.unary.neg, backend.upload([1])))]).toEqual([-1]);
  });
});
